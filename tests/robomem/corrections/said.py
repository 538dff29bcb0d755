"""What people say to an arm, with the record that a perfect listener makes of it: paraphrases/guide.md.

`dev` the grammar was tuned on; `held_out` was written and checked by others, and its author never saw it.
"""

import json
from pathlib import Path

from robomem.corrections.record import Meaning


def read(name: str) -> list[tuple[str, Meaning | None]]:
    """Texts and their meanings, None where the right answer is to refuse."""
    lines = (Path(__file__).parent / "paraphrases" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        (said["text"], said["meaning"] and Meaning.model_validate(said["meaning"])) for said in map(json.loads, lines)
    ]
