"""What a person's words are understood as: `robomem correct parse "a bit higher" "no, the other drawer"`."""

import json
from collections.abc import Iterable

from robomem.corrections import grammar
from robomem.corrections.record import Correction, Provenance


def parse(texts: Iterable[str]) -> None:
    """Prints the record of each text as JSON, or why there is none, a line each."""
    provenance = Provenance(parser=grammar.NAME, version=grammar.VERSION)
    for text in texts:
        try:
            meaning = grammar.parse(text)
        except grammar.NotUnderstood as why:
            answer = {"refused": str(why)}
        else:
            answer = Correction(**dict(meaning), utterance=text, provenance=provenance).plain()
        print(json.dumps(answer), flush=True)
