"""Low-rank adapters (Hu et al. 2021, LoRA) beside the linear layers of a language model, by peft."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from robomem.errors import CheckpointError
from robomem.learn.checkpoints import read_safetensors

FILE = "adapter_model.safetensors"
OUTSIDE = "base_model.model."  # what peft writes before every name


def add_adapters(model: Any, language: nn.Module, rank: int, alpha: int, targets: Sequence[str]) -> None:
    """Adapters beside the linear layers of `language`, a part of `model`: those whose last name is in `targets`, or
    all. They alone are trained. Raises ValueError when there are no such layers."""
    from peft import LoraConfig

    inside = {id(module) for module in language.modules() if isinstance(module, nn.Linear)}
    names = [name for name, module in model.named_modules() if id(module) in inside]
    chosen = [name for name in names if not targets or name.rsplit(".", 1)[-1] in targets]
    if unknown := set(targets) - {name.rsplit(".", 1)[-1] for name in chosen}:
        there = sorted({name.rsplit(".", 1)[-1] for name in names})
        raise ValueError(f"no linear layer '{min(unknown)}'; layers: {', '.join(there)}")
    model.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen))
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name)


def load_adapters(model: Any, folder: str | Path) -> None:
    """Adapters as `model.save_pretrained` wrote them, into those that are there. Raises CheckpointError."""
    from peft import set_peft_model_state_dict

    path = Path(folder) / FILE
    weights = {name.removeprefix(OUTSIDE): tensor for name, tensor in read_safetensors(path)[0].items()}
    adapters = [name for name, _ in model.named_parameters() if "lora_" in name]
    try:
        found = set_peft_model_state_dict(model, weights)
    except RuntimeError as error:  # its lines name every weight
        raise CheckpointError(f"{path} holds adapters of another size") from error
    missing = set(found.missing_keys) & set(adapters)
    if missing or found.unexpected_keys:
        raise CheckpointError(f"{path} holds adapters of another network")
