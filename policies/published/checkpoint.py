"""The published MemoryVLA in one file: weights, sizes, and the range of its actions in every data set it was trained
on. The tokenizer lies beside it, in a folder of that name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from policies.action.incontext import InContextConfig
from policies.action.sampler import SamplerConfig
from policies.published.actions import ActionRange, Motion
from policies.published.model import Published, PublishedConfig
from policies.published.policy import Deployment, PublishedPolicy
from policies.vlm.prismatic import PrismaticConfig, PrismaticVLM
from robomem.errors import CheckpointError, UnknownName
from robomem.interfaces import Kinematics

FORMAT = "robomem published memoryvla 1"
TOKENIZER = "tokenizer"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Description:
    """All of a checkpoint but its weights: sizes, ranges of actions by data set, and the record of what made it."""

    config: PublishedConfig
    encoder: PrismaticConfig
    ranges: Mapping[str, ActionRange]
    made_by: Mapping[str, Any]

    def as_metadata(self) -> dict[str, str]:
        """What a checkpoint file says of itself."""
        return {"robomem": json.dumps({"format": FORMAT, **asdict(self)})}

    @classmethod
    def of(cls, path: Path, metadata: Mapping[str, str]) -> "Description":
        """From the metadata of the file at `path`. Raises CheckpointError."""
        try:
            told = json.loads(metadata["robomem"])
            if told["format"] != FORMAT:
                raise CheckpointError(f"{path} has format '{told['format']}', expected '{FORMAT}'")
            expert, sampler = InContextConfig(**told["config"]["expert"]), SamplerConfig(**told["config"]["sampler"])
            config = PublishedConfig(**told["config"] | {"expert": expert, "sampler": sampler})
            encoder = PrismaticConfig(**told["encoder"] | {"ending": tuple(told["encoder"]["ending"])})
            ranges = {name: ActionRange(**{k: tuple(v) for k, v in of.items()}) for name, of in told["ranges"].items()}
            return cls(config, encoder, ranges, told["made_by"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{path} is no published MemoryVLA of robomem: {error}") from None

    def range_of(self, dataset: str | None) -> ActionRange:
        """Of the named data set, which may be left out when there is only one. Raises UnknownName."""
        if dataset is None and len(self.ranges) == 1:
            (only,) = self.ranges.values()
            return only
        name = str(dataset)
        if name not in self.ranges:
            raise UnknownName("data set", name, self.ranges)
        return self.ranges[name]

    def build(self, tokenizer: Any) -> Published:
        """The network without its weights, which take no memory yet."""
        from accelerate import init_empty_weights

        with init_empty_weights(include_buffers=False):
            return Published(self.config, PrismaticVLM(self.encoder, tokenizer))


def read_tokenizer(folder: str | Path) -> Any:
    """transformers' tokenizer in a folder or on the hub. Raises CheckpointError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"no tokenizer at {folder}: {str(error).splitlines()[0]}") from None


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Keeps a tokenizer in `folder`. Raises CheckpointError."""
    try:
        tokenizer.save_pretrained(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror}") from None


def load_model(
    path: Path, tokenizer: str | None = None, device: str | None = None, dtype: str | None = None
) -> tuple[Published, Description]:
    """Network and description. Each weight is read once, straight to `device` (null: the GPU when there is one), as
    `dtype` (null: as it was written). Raises CheckpointError.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UnknownName("dtype", dtype, DTYPES)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; make one with: robomem convert upstream=CHECKPOINT")
    try:
        with safe_open(path, "pt", device=device) as file:
            description = Description.of(path, file.metadata() or {})
            model = description.build(read_tokenizer(tokenizer or path.parent / TOKENIZER))
            names = list(file.keys())
            weights = {name: file.get_tensor(name).to(DTYPES.get(str(dtype))) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is torn or no safetensors file: {error}") from None
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:  # its lines name every weight
        raise CheckpointError(f"{path} holds the weights of another network; convert it anew") from error
    return model.to(device), description


def load_policy(
    path: str | Path,
    kinematics: Kinematics,
    dataset: str | None = None,
    tokenizer: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    cameras: Sequence[str] = ("front",),
    image_size: int = 224,
    crop: float = 0.9,
    action_dt: float = 0.2,
    executed: int = 8,
    compiled: bool = False,
    graphs: bool = False,
    metres: float = 1.0,
    radians: float = 1.0,
    turns: Literal["euler", "rotvec"] = "euler",
) -> PublishedPolicy:
    """The policy in a checkpoint file, its actions those of `dataset`, where it knows several; the rest is as
    `load_model`, `Deployment` and `Motion` say."""
    motion = Motion(metres, radians, turns)
    deployment = Deployment(tuple(cameras), image_size, crop, action_dt, executed, compiled, graphs, motion)
    model, description = load_model(Path(path), tokenizer, device, dtype)
    return PublishedPolicy(model, description.range_of(dataset), deployment, kinematics)
