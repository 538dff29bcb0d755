"""What `robomem bench` times: compatible mode against the plain formulation, at the paper's shapes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from policies.action.dit import Condition
from policies.action.incontext import InContextConfig, InContextDiT
from policies.action.sampler import Sampler, SamplerConfig
from policies.memoryvla.plain import Expert, denoise

STEPS, GUIDANCE = 10, 1.5
COGNITIVE, PERCEPTUAL = 4096, (256, 256)  # width of the token; tokens and their width

Ways = dict[str, Callable[[], Tensor]]


def guided_sample(layers: int, dim: int, heads: int, seed: int) -> Ways:
    """A chunk denoised in ten guided steps."""
    torch.manual_seed(seed)
    dit = drawn(InContextDiT(InContextConfig(layers=layers, dim=dim, heads=heads)))
    net = Expert(dit.state_dict(), layers, heads)
    sampler = Sampler(SamplerConfig(steps=STEPS, guidance=GUIDANCE, guided=STEPS, predicts="epsilon"))
    cognitive, perceptual = torch.randn(1, 1, COGNITIVE), torch.randn(1, *PERCEPTUAL)
    noise = torch.randn(1, dit.config.horizon, dit.config.action_dim)
    condition = Condition(cognitive, perceptual, noise.new_zeros(1, 0))

    def plain() -> Tensor:
        with torch.inference_mode():
            return denoise(net, noise, cognitive, perceptual, STEPS, GUIDANCE)

    def ours() -> Tensor:
        with torch.inference_mode():
            return sampler.denoise(dit, condition, noise)

    return {"plain": plain, "ours": ours}


def drawn[Module: nn.Module](module: Module) -> Module:
    """`module` with weights that let every layer show in the output, none of them trained."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=(weight.shape[-1] if weight.dim() > 1 else 16) ** -0.5)
    return module.eval().requires_grad_(False)
