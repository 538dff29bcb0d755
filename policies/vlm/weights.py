"""Published weights: a folder on disk, or a name on the Hugging Face hub. Safetensors only."""

from pathlib import Path

from torch import Tensor

from robomem.errors import CheckpointError
from robomem.learn.checkpoints import read_safetensors

WANTED = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")


def folder_of(path: str | Path) -> Path:
    """The folder of `path`; what is no folder is a name on the hub, downloaded where the cache lacks it.

    Raises CheckpointError.
    """
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(path), allow_patterns=list(WANTED)))
    except HFValidationError:
        raise CheckpointError(f"no folder {path}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        said = str(error).splitlines()[0]
        raise CheckpointError(f"no folder {path}, and the hub gives nothing of that name: {said}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, of one file or many. Raises CheckpointError."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"no *.safetensors in {folder}")
    return {name: tensor for file in files for name, tensor in read_safetensors(file)[0].items()}
