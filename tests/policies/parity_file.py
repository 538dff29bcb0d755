"""Parity files of any size, their outputs computed by the plain formulation."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from policies.action.incontext import InContextDiT
from policies.memoryvla.parity import Sizes
from policies.memoryvla.plain import Entry, Expert, compress, denoise, keep, predict, remember
from policies.vlm.compression import BottleneckSE
from robomem.memory.compatible import CompatibleBank
from robomem.memory.state import within


def random_weights(sizes: Sizes) -> dict[str, Tensor]:
    """Weights of every layer, large enough that each shows in the outputs."""
    parts = {
        "per_compr": BottleneckSE(sizes.visual_dim, sizes.se_mid, sizes.perceptual_dim),
        "per_mem_bank": CompatibleBank(sizes.perceptual_dim, sizes.perceptual_tokens, sizes.mem_length, False),
        "cog_mem_bank": CompatibleBank(sizes.cognition_dim, 1, sizes.mem_length, False),
        "action_model.net": InContextDiT(sizes.expert()),
    }
    weights = {f"{part}.{name}": w for part, module in parts.items() for name, w in module.state_dict().items()}
    return {name: torch.randn_like(w) * (w.shape[-1] if w.dim() > 1 else 4) ** -0.5 for name, w in weights.items()}


@torch.inference_mode()
def save_parity_file(path: Path, sizes: Sizes, seed: int) -> Path:
    """A file as upstream's, for random weights and inputs."""
    torch.manual_seed(seed)
    weights = random_weights(sizes)
    given = {
        "visual": torch.randn(sizes.steps, sizes.perceptual_tokens, sizes.visual_dim),
        "cognition": torch.randn(sizes.steps, 1, sizes.cognition_dim),
        "noise": torch.randn(1, sizes.chunk, 7),
        "timestep": torch.randint(100, (1,)),
    }
    perceptual = torch.stack([compress(within(weights, "per_compr."), seen) for seen in given["visual"]])
    true = {"perceptual": perceptual}
    for name, tokens in (("per", perceptual), ("cog", given["cognition"])):
        held: list[Entry] = []
        fused = []
        for t, x in enumerate(tokens):
            fused.append(remember(within(weights, f"{name}_mem_bank."), held, x))
            held = keep(held, Entry(t, fused[-1] if sizes.update_fused else x), sizes.mem_length)
            true[f"{name}.bank_t.{t:02d}"] = torch.tensor([entry.t for entry in held])
        true[f"{name}.fused"] = torch.stack(fused)
        true[f"{name}.bank_final"] = torch.stack([entry.tokens for entry in held])
    net = Expert(within(weights, "action_model.net."), sizes.depth, sizes.heads)
    last = true["cog.fused"][-1:], true["per.fused"][-1:]
    true["dit.eps"] = predict(net, given["noise"], given["timestep"], *last)
    true["actions.ddim10_cfg1.5"] = denoise(net, given["noise"], *last, steps=10, guidance=1.5)
    tensors = {f"weights.{name}": w for name, w in weights.items()} | {f"in.{name}": x for name, x in given.items()}
    tensors |= {f"out.{name}": x.clone().contiguous() for name, x in true.items()}
    save_file(tensors, path, metadata={"description": json.dumps(asdict(sizes))})
    return path
