"""Compares compatible mode with numbers of upstream: `python -m policies.memoryvla.parity FILE...`.

A file holds upstream's weights (`weights.`), inputs (`in.`) and outputs (`out.`), and in its metadata, under
`description`, the sizes. Prints a line of JSON a file with the largest absolute difference of every output; the exit
status is 1 when one is larger than TOLERANCE times the largest number of that output, 2 when a file is no such file.
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from policies.action.dit import Condition
from policies.action.incontext import InContextConfig, InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from policies.published.upstream import PARTS
from policies.vlm.compression import BottleneckSE
from robomem.errors import CheckpointError
from robomem.memory.compatible import CompatibleBank
from robomem.memory.state import within

TOLERANCE = 1e-4
SAMPLED = re.compile(r"actions\.ddim(\d+)_cfg([\d.]+)")


@dataclass(frozen=True)
class Sizes:
    """What a parity file calls its sizes; `se_mid` is the width inside perceptual compression."""

    visual_dim: int
    se_mid: int
    perceptual_dim: int
    perceptual_tokens: int
    cognition_dim: int
    mem_length: int
    hidden: int
    depth: int
    heads: int
    chunk: int
    steps: int
    update_fused: bool

    def expert(self) -> InContextConfig:
        """The sizes of the action expert."""
        widths = self.hidden, self.heads, self.cognition_dim, self.perceptual_dim
        return InContextConfig(self.chunk, 7, self.depth, *widths)


def read(path: Path) -> tuple[Sizes, dict[str, Tensor]]:
    """The sizes and tensors of a parity file. Raises CheckpointError when it is none."""
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})["description"])
            sizes = Sizes(**{field.name: told[field.name] for field in fields(Sizes)})
            names = list(file.keys())
            return sizes, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no parity file: {error}") from None


@torch.inference_mode()
def outputs(sizes: Sizes, tensors: Mapping[str, Tensor], wanted: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """What compatible mode computes from the weights and inputs of a parity file, under the names of its outputs."""
    weights, given = within(tensors, "weights."), within(tensors, "in.")
    compress = loaded(BottleneckSE(sizes.visual_dim, sizes.se_mid, sizes.perceptual_dim), weights, PARTS["compress."])
    if given["visual"].shape[1] != sizes.perceptual_tokens:
        raise ValueError(f"{given['visual'].shape[1]} visual tokens, expected {sizes.perceptual_tokens}")
    perceptual = compress(given["visual"])
    yield "perceptual", perceptual
    fused = {}
    for name, part, tokens in (("per", "perceptual", perceptual), ("cog", "cognitive", given["cognition"])):
        bank = CompatibleBank(tokens.shape[2], tokens.shape[1], sizes.mem_length, sizes.update_fused)
        loaded(bank, weights, PARTS[f"{part}_bank."])
        held, steps = bank.empty(), []
        for k, x in enumerate(tokens):
            step, held = bank(held, x.unsqueeze(0), torch.tensor([float(k)]))
            steps.append(step)
            order = held.order[0, : int(held.length)]
            yield f"{name}.bank_t.{k:02d}", held.start[0, order]
        fused[name] = torch.cat(steps)
        yield f"{name}.fused", fused[name]
        yield f"{name}.bank_final", held.streams(held.tokens)[0][0, order]
    dit = loaded(InContextDiT(sizes.expert()), weights, PARTS["expert."])
    condition = Condition(fused["cog"][-1:], fused["per"][-1:], given["noise"].new_zeros(1, 0))
    yield "dit.eps", dit(given["noise"], dit.prepare(condition, given["timestep"].unsqueeze(1)))
    for name in wanted:
        if sampled := SAMPLED.fullmatch(name):
            steps, guidance = int(sampled[1]), float(sampled[2])
            config = SamplerConfig(steps=steps, guidance=guidance, guided=steps, predicts="epsilon")
            yield name, Sampler(config).denoise(dit, condition, given["noise"])


def loaded[Module: nn.Module](module: Module, weights: Mapping[str, Tensor], prefix: str) -> Module:
    """`module` with the weights under `prefix`. Raises RuntimeError when they do not fit."""
    module.load_state_dict(within(weights, prefix))
    return module.eval()


def differences(path: Path) -> tuple[dict[str, float | None], list[str]]:
    """Of every output in the file: the largest absolute difference, None of what cannot be compared; and the names of
    those that are too large."""
    sizes, tensors = read(path)
    true = within(tensors, "out.")
    try:
        found = dict(outputs(sizes, tensors, list(true)))
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} does not hold what its sizes say: {' '.join(str(error).split())}") from None
    if unknown := sorted(true.keys() - found.keys()):
        raise CheckpointError(f"{path}: outputs that are not known here: {', '.join(unknown)}")
    off: dict[str, float | None] = {}
    wrong = []
    for name, tensor in sorted(true.items()):
        same = found[name].shape == tensor.shape
        far = float((found[name] - tensor).abs().max()) if same else math.inf
        off[f"out.{name}"] = far if math.isfinite(far) else None
        if not far <= TOLERANCE * float(tensor.abs().max()):
            wrong.append(f"out.{name}")
    return off, wrong


def main(paths: Sequence[str]) -> int:
    """Compare every file; the exit status."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    status = 0
    for path in paths:
        try:
            off, wrong = differences(Path(path))
        except CheckpointError as error:
            print(f"parity: {error}", file=sys.stderr)
            status = 2
            continue
        print(json.dumps({"file": path, "largest_difference": off, "wrong": wrong}))
        status = max(status, 1 if wrong else 0)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
