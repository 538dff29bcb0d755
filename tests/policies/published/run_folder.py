"""A run folder as upstream's training leaves it, at small sizes: names and shapes of the real networks, made-up
weights."""

import json
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from policies.action.incontext import InContextConfig
from policies.published.checkpoint import Description
from policies.published.model import PublishedConfig
from policies.published.upstream import upstream_name
from policies.vlm.prismatic import DINO, SIGLIP, PrismaticConfig
from tests.policies.vlm.tiny import tokenizer

LLM = {"vocab_size": 384, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
ENCODER: dict[str, Any] = {
    "image_size": 28,
    "dino": {"depth": 3, "embed_dim": 16, "num_heads": 2},
    "siglip": {"depth": 3, "embed_dim": 24, "num_heads": 2},
    "llm": LLM,
    "ending": [2],
}
EXPERTS = {"DiT-L": {"layers": 2, "dim": 24, "heads": 3}}
CONFIG: dict[str, Any] = {  # what upstream's training was told
    "action_model_type": "DiT-L",
    "future_action_window_size": 4,
    "per_token_size": 16,
    "mem_length": 3,
    "update_fused": False,
    "vla": {"base_vlm": "prism-dinosiglip-224px+7b"},
}
STATISTICS: dict[str, Any] = {
    "bridge_orig": {
        "action": {
            "q01": [-0.02, -0.04, -0.03, -0.1, -0.1, -0.2, 0.0],
            "q99": [0.03, 0.04, 0.05, 0.1, 0.1, 0.2, 1.0],
            "mask": [True, True, True, True, True, True, False],
        },
        "num_transitions": 100,
    }
}
OVERRIDES = tuple(  # the same as words of the command line
    f"++converter.{name}={json.dumps(value)}".replace('"', "")
    for name, value in (("experts", EXPERTS), ("encoder", ENCODER))
)


def upstream_weights(experts: Any = EXPERTS, seed: int = 0) -> dict[str, OrderedDict[str, Tensor]]:
    """Weights by module, those that are never used too; large enough that each shows in the actions."""
    tensors = _drawn(json.dumps(experts), seed)
    return {module: OrderedDict(weights) for module, weights in tensors.items()}


@cache
def _drawn(experts: str, seed: int) -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(seed)
    width, dim = ENCODER["dino"]["embed_dim"] + ENCODER["siglip"]["embed_dim"], LLM["hidden_size"]
    towers = {"dino_featurizer": (DINO, ENCODER["dino"]), "siglip_featurizer": (SIGLIP, ENCODER["siglip"])}
    shapes: dict[str, torch.Size] = {}
    for name, (kind, sizes) in towers.items():
        tower = timm.create_model(kind, pretrained=False, num_classes=0, img_size=ENCODER["image_size"], **sizes)
        shapes |= {f"vision_backbone.{name}.{key}": weight.shape for key, weight in tower.state_dict().items()}
    for layer, (into, out) in {0: (width, 4 * width), 2: (4 * width, dim), 4: (dim, dim)}.items():
        shapes |= {f"projector.projector.{layer}.weight": torch.Size([out, into])}
        shapes |= {f"projector.projector.{layer}.bias": torch.Size([out])}
    llama = LlamaForCausalLM(LlamaConfig(**LLM))
    shapes |= {f"llm_backbone.llm.{key}": weight.shape for key, weight in llama.state_dict().items()}
    expert = InContextConfig(horizon=5, cognitive_dim=dim, perceptual_dim=16, **json.loads(experts)["DiT-L"])
    config = PublishedConfig(patches=4, slots=3, expert=expert)
    ours = Description(config, PrismaticConfig(**ENCODER), {}, {}).build(tokenizer()).state_dict()
    shapes |= {upstream_name(key): weight.shape for key, weight in ours.items() if not key.startswith("encoder.")}
    modules: dict[str, dict[str, Tensor]] = {}
    for full, shape in shapes.items():
        module, key = full.split(".", 1)
        fan = shape[1:].numel() if len(shape) > 1 else 4
        modules.setdefault(module, {})[key] = torch.randn(shape) * fan**-0.5
    return modules


def save_run(folder: Path, saved: Any, config: dict[str, Any] = CONFIG, statistics: Any = STATISTICS) -> Path:
    """A run folder; `saved` is what its checkpoint holds, whose path is returned."""
    path = folder / "checkpoints/step-020000-epoch-12-loss=0.0123.pt"
    path.parent.mkdir(parents=True)
    torch.save(saved, path)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "dataset_statistics.json").write_text(json.dumps(statistics))
    tokenizer().save_pretrained(folder / "tokenizer")
    return path
