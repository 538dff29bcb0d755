"""Any image-text model of transformers as an encoder: `AutoModelForImageTextToText` of a folder or a name on the hub.

The model's own processor writes the prompt and prepares the pictures, and the model itself, without its head, reads
them. Visual tokens are what its vision tower hands on, in the tower's order.
"""

import inspect
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from policies.vlm.adapters import add_adapters, load_adapters
from policies.vlm.encoder import Encoded, at_last, check_inputs, without_signs
from policies.vlm.prefixes import Prefix, Prefixes, as_cache, of_cache, state_of, why_not_held
from policies.vlm.weights import folder_of
from robomem.errors import CheckpointError

Tuning = Literal["frozen", "lora", "full"]
PROMPT = "What action should the robot take to {instruction}?"
TENSORS = {"return_tensors": "pt"}
BY_TOKEN = {"input_ids", "attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids"}
SEEN: ContextVar[list[Tensor] | None] = ContextVar("SEEN", default=None)  # what towers hand on, in this thread's call


class HuggingFaceEncoder(nn.Module):
    """Sees `views` pictures a moment.

    `tuning`: what is trained; nothing, adapters of rank `lora_rank` beside the language model's linear layers (those
    whose last name is in `lora_targets`, or all), or everything. `pictures`: settings of the model's image processor.
    `prefixes`: so many beginnings of prompts are held, see `forward`. Raises CheckpointError, and ValueError for what
    the model cannot do.
    """

    def __init__(
        self,
        path: str,
        views: int = 1,
        tuning: Tuning = "frozen",
        lora_rank: int = 16,
        lora_alpha: int = 32,
        lora_targets: Sequence[str] = (),
        prompt: str = PROMPT,
        pictures: Mapping[str, Any] | None = None,
        bucket: int = 16,
        prefixes: int = 0,
        dtype: str = "bfloat16",
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if tuning not in ("frozen", "lora", "full"):
            raise ValueError(f"tuning is '{tuning}', expected frozen, lora or full")
        if "{instruction}" not in prompt:
            raise ValueError(f"prompt '{prompt}' has no {{instruction}}")
        self.views, self.tuning = views, tuning
        self.pictures, self.bucket = dict(pictures or {}), bucket
        self.model, self.processor = load(path, dtype, device)
        self.prompt = written(self.processor, prompt, views)
        tower, language = self.model.get_encoder("image"), self.model.get_decoder()
        if tower is self.model or language is self.model:
            raise CheckpointError(f"{path} has no vision tower beside its language model")
        tower.register_forward_hook(_note)
        self.visual_dim, self.cognitive_dim = tower.config.hidden_size, language.config.hidden_size
        self.model.requires_grad_(tuning == "full")
        if tuning == "lora":
            add_adapters(self.model, language, lora_rank, lora_alpha, lora_targets)
        self.prefixes = Prefixes(prefixes)
        if prefixes and (why := why_not_held(self.model, self.processor.tokenizer("push the red button").input_ids)):
            raise ValueError(f"{path} can hold no prefixes: {why}")
        self.train(False)

    def train(self, mode: bool = True) -> "HuggingFaceEncoder":
        """As every module; a frozen one always infers."""
        super().train(mode)
        if self.tuning == "frozen":
            self.model.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weight: Tensor = next(self.model.parameters())
        return weight.device

    def forward(self, images: Tensor, instructions: Sequence[str]) -> Encoded:
        """Tokens of `images` (B, V, H, W, 3) uint8 and one instruction each.

        Prefixes, held while nothing is trained: the text before the pictures is read once, and so are pictures about
        which more than one instruction is given, in one call or in calls that follow. The numbers stay the same, to
        rounding. A robot sees a new picture at every step, which then costs a comparison and the memory of its tokens.
        """
        check_inputs(images, instructions, self.views)
        if self.prefixes.most and not self.training and not torch.is_grad_enabled():
            return self._go_on(images, instructions)
        return self._whole(*self.read(images, instructions))

    def _whole(self, inputs: Mapping[str, Tensor], last: Tensor) -> Encoded:
        hidden, visual = self._run(inputs)
        return Encoded(at_last(hidden, last.to(self.device)), visual)

    def read(self, images: Tensor, instructions: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """What the model takes, on the CPU, and where the last token of each prompt is (B,).

        Raises ValueError when an instruction holds a sign of the model's own.
        """
        plain = [without_signs(instruction, self.processor.tokenizer) for instruction in instructions]
        told = self.processor(
            text=[self.prompt.replace("{instruction}", instruction) for instruction in plain],
            images=[list(views.permute(0, 3, 1, 2)) for views in images.cpu()],
            text_kwargs={"padding": True, "padding_side": "right", "pad_to_multiple_of": self.bucket, **TENSORS},
            images_kwargs={**self.pictures, **TENSORS},
        )
        inputs = {name: value for name, value in told.items() if name != "labels"}
        if hasattr(self.model, "get_rope_index"):  # positions on a grid; it would keep some between calls itself
            takes = inspect.signature(self.model.get_rope_index).parameters
            given = {name: value for name, value in inputs.items() if name in takes}
            inputs["position_ids"] = self.model.get_rope_index(**given)[0]
        return inputs, inputs["attention_mask"].sum(dim=1) - 1

    def _run(self, inputs: Mapping[str, Tensor], past: Any = None) -> tuple[Tensor, Tensor]:
        """Hidden states (B, S, Dc) and visual tokens; (0) where no pictures are among `inputs`."""
        dtype = self.model.dtype
        given = {k: v.to(self.device, dtype if v.is_floating_point() else None) for k, v in inputs.items()}
        with _noting() as seen:
            told = self.model(**given, past_key_values=past, use_cache=past is not None)
        hidden: Tensor = told.last_hidden_state
        if not seen:
            return hidden, hidden.new_empty(0)
        return hidden, torch.cat(seen).reshape(len(hidden), self.views, -1, self.visual_dim)

    def _go_on(self, images: Tensor, instructions: Sequence[str]) -> Encoded:
        """From the longest prefixes that are held."""
        inputs, last = self.read(images, instructions)
        numbers = inputs["input_ids"]
        places = (numbers[0] == self.model.config.image_token_id).nonzero()[:, 0].tolist()
        begin, end = places[0], places[-1] + 1
        if (numbers[:, :end] != numbers[0, :end]).any():  # this template has words before pictures
            return self._whole(inputs, last)
        state, text = state_of(self.model), tuple(numbers[0, :end].tolist())
        keys = [(state, text, tuple(views.shape), views.numpy().tobytes()) for views in images.cpu()]
        known = {key: prefix for key in keys if (prefix := self.prefixes.get(key))}
        if new := [row for row, key in enumerate(keys) if key not in known and keys.index(key) == row]:
            all_new = len(new) == len(keys)
            unread = inputs if all_new else self.read(images[new], [instructions[row] for row in new])[0]
            for row, prefix in zip(new, self._look(unread, state, begin, end), strict=True):
                known[keys[row]] = prefix
                self.prefixes.put(keys[row], prefix)
        held = [known[key] for key in keys]
        hidden, _ = self._run(between(inputs, end, numbers.shape[1]), as_cache(held))
        visual = torch.cat([prefix.visual for prefix in held])
        return Encoded(at_last(hidden, (last - end).to(self.device)), visual)

    def _look(self, inputs: Mapping[str, Tensor], state: Hashable, begin: int, end: int) -> list[Prefix]:
        """What comes before the words of all rows, as a prefix of each: text up to `begin`, pictures up to `end`."""
        numbers = inputs["input_ids"]
        past = as_cache([])
        if begin and "token_type_ids" not in inputs:  # models that take those read text and pictures in one go
            key = state, tuple(numbers[0, :begin].tolist())
            text = self.prefixes.get(key)
            if text is None:
                _, nothing = self._run(between(inputs, 0, begin, rows=1), past)
                (text,) = of_cache(past, nothing)
            self.prefixes.put(key, text)
            past = as_cache([text] * len(numbers))
        pixels = {name: value for name, value in inputs.items() if name not in BY_TOKEN}
        _, visual = self._run(between(inputs, past.get_seq_length(), end) | pixels, past)
        return of_cache(past, visual)

    def save_pretrained(self, folder: str | Path) -> None:
        """What was trained: the adapters, or else the whole model and its processor, a `path` like any other."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        if self.tuning != "lora":
            self.processor.save_pretrained(folder)

    def load_adapters(self, folder: str | Path) -> None:
        """Take over the adapters that were saved in `folder`. Raises CheckpointError when they do not fit."""
        load_adapters(self.model, folder)


def load(path: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Model, without its head, and processor. Raises CheckpointError."""
    from transformers import AutoModelForImageTextToText, AutoProcessor  # late: takes seconds

    folder = folder_of(path)
    try:
        whole = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        if whole.base_model is whole or whole.config.is_encoder_decoder:
            raise ValueError(f"a {type(whole).__name__} is not one language model under a head")
        return whole.base_model.to(device), AutoProcessor.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is no image-text model that can be used: {said}") from None


def written(processor: Any, text: str, views: int) -> str:
    """The whole prompt of `text` about `views` pictures, as the model was taught to read it."""
    if not processor.chat_template:
        return f"{processor.image_token * views}{text}"
    content = [*[{"type": "image"}] * views, {"type": "text", "text": text}]
    said = [{"role": "user", "content": content}]
    prompt: str = processor.apply_chat_template(said, add_generation_prompt=True)
    return prompt


def between(inputs: Mapping[str, Tensor], begin: int, end: int, rows: int | None = None) -> dict[str, Tensor]:
    """Tokens `begin` to `end` of the first `rows`, or of all; what says which tokens count begins at the first."""
    cut = {}
    for name in BY_TOKEN & inputs.keys():
        value = inputs[name][:rows] if inputs[name].ndim == 2 else inputs[name][:, :rows]
        cut[name] = value[..., 0 if name == "attention_mask" else begin : end]
    return cut


@contextmanager
def _noting() -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    before = SEEN.set(seen)
    try:
        yield seen
    finally:
        SEEN.reset(before)


def _note(_tower: nn.Module, _given: Any, told: Any) -> None:
    if (seen := SEEN.get()) is not None:
        seen.append(told.last_hidden_state)
