"""What `robomem bench policy policy=published_random` times: the published network at its sizes, weights drawn where
they are used. Nothing is read, so no weights are needed to know how fast they would be."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from policies.action.incontext import InContextConfig
from policies.published.actions import ActionRange
from policies.published.checkpoint import DTYPES, Description
from policies.published.model import PublishedConfig
from policies.published.policy import Deployment, PublishedPolicy
from policies.vlm.prismatic import PrismaticConfig
from robomem.interfaces import Kinematics

FAN_OF_VECTORS = 16  # what biases and norms are drawn for


class Numbers(NamedTuple):
    """What a tokenizer answers."""

    input_ids: list[int]


class WordNumbers:
    """Stands for a tokenizer where only the length of a prompt counts: a number a word."""

    bos_token_id = 1
    added_tokens_decoder: Mapping[int, Any] = MappingProxyType({})  # it has no signs of its own

    def __call__(self, text: str) -> Numbers:
        """The beginning, then the words of `text`."""
        return Numbers([self.bos_token_id, *range(2, 2 + len(text.split()))])


def random_policy(
    kinematics: Kinematics,
    encoder: Mapping[str, Any],
    expert: Mapping[str, int],
    patches: int,
    slots: int,
    image_size: int,
    dtype: str,
    device: str | None,
    graphs: bool,
    path: None = None,
    seed: int = 0,
) -> PublishedPolicy:
    """One camera's policy of the sizes given, with weights that let every layer show and none that was trained."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    config = PublishedConfig(patches=patches, slots=slots, expert=InContextConfig(**expert))
    model = Description(config, PrismaticConfig(**encoder), {}, {}).build(WordNumbers())
    drawn = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, weight in model.state_dict().items():
        fan = weight.shape[1:].numel() if weight.dim() > 1 else FAN_OF_VECTORS
        weights[name] = torch.empty(weight.shape, dtype=DTYPES[dtype], device=device)
        weights[name].normal_(std=fan**-0.5, generator=drawn)
    model.load_state_dict(weights, assign=True)
    unit = ActionRange((-1.0,) * 7, (1.0,) * 7, (True,) * 6 + (False,))
    deployment = Deployment(image_size=image_size, executed=config.expert.horizon // 2, graphs=graphs)
    return PublishedPolicy(model.to(device), unit, deployment, kinematics)
