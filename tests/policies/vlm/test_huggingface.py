"""Image-text models of transformers as encoders: three families, small, through their own save and load."""

import ast
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    BlipConfig,
    BlipForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
)

from policies.vlm import weights
from policies.vlm.compression import BottleneckSE
from policies.vlm.huggingface import HuggingFaceEncoder
from robomem.cli.build import build
from robomem.cli.configuration import CONF
from robomem.errors import CheckpointError
from tests.policies.vlm.tiny import FAMILIES, save_family
from tests.test_layering import imported_on_import

SAID = ["push the red button", "open the drawer please now, and press blue"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: save_family(name, tmp_path_factory.mktemp(name)) for name in FAMILIES}


@pytest.fixture(params=sorted(FAMILIES))
def folder(request: pytest.FixtureRequest, folders: dict[str, str]) -> str:
    return folders[request.param]


MADE: dict[str, HuggingFaceEncoder] = {}


def encoder(folder: str, **settings: object) -> HuggingFaceEncoder:
    """A new one; read from disk once, and its processor, which never changes, shared."""
    key = repr((folder, sorted(settings.items())))
    if key not in MADE:
        MADE[key] = HuggingFaceEncoder(folder, **{"views": 2, "dtype": "float32", **settings})  # type: ignore[arg-type]
    return copy.deepcopy(MADE[key], {id(MADE[key].processor): MADE[key].processor})


def pictures(batch: int = 2, seed: int = 0, height: int = 32) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 2, height, 32, 3), generator=random, dtype=torch.uint8)


def assert_close(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_tokens_are_those_of_the_whole_model_on_one_prompt_without_padding(folder: str) -> None:
    vlm, whole = encoder(folder), AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").eval()
    told = vlm(pictures(), SAID)
    assert told.cognitive.shape == (2, 1, vlm.cognitive_dim) == (2, 1, 32)
    assert told.visual.shape == (2, 2, 16, vlm.visual_dim) == (2, 2, 16, 24)
    assert not any("lm_head" in name for name, _ in vlm.named_parameters())
    vlm.bucket = 1
    for k in range(2):
        inputs, last = vlm.read(pictures()[k : k + 1], SAID[k : k + 1])
        assert last == inputs["input_ids"].shape[1] - 1
        inputs.pop("position_ids", None)  # the whole model makes its own
        assert_close(told.cognitive[k], whole(**inputs, output_hidden_states=True).hidden_states[-1][:, -1])
        seen = whole.model.get_image_features(
            **{k: v for k, v in inputs.items() if k in ("pixel_values", "image_grid_thw")}
        )
        assert_close(told.visual[k], seen.last_hidden_state.view(2, 16, 24))


@torch.no_grad()
def test_every_view_and_every_word_reaches_the_cognitive_token(folder: str) -> None:
    vlm, images = encoder(folder), pictures()
    base = vlm(images, SAID)
    for view in range(2):
        other = images.clone()
        other[:, view] = 255 - other[:, view]
        told = vlm(other, SAID)
        assert (told.cognitive - base.cognitive).abs().amax(dim=(1, 2)).min() > 1e-3
        assert_close(told.visual[:, 1 - view], base.visual[:, 1 - view])
        assert (told.visual[:, view] - base.visual[:, view]).abs().max() > 1e-3
    told = vlm(images, ["pull the red button", "open the drawer please now, and press red"])
    assert (told.cognitive - base.cognitive).abs().amax(dim=(1, 2)).min() > 1e-3
    assert_close(told.visual, base.visual)


@torch.no_grad()
def test_a_grid_that_is_no_square_compresses(folders: dict[str, str]) -> None:
    vlm = encoder(folders["qwen3_vl"])
    visual = vlm(pictures(height=48), SAID).visual
    assert visual.shape == (2, 2, 6 * 4, 24)
    compress = BottleneckSE(24, 16, 8)
    perceptual = compress(visual.flatten(0, 1))
    assert perceptual.shape == (4, 24, 8)
    order = torch.randperm(24)
    assert_close(compress(visual.flatten(0, 1)[:, order]), perceptual[:, order])


@torch.no_grad()
def test_a_picture_in_tiles_has_the_tokens_of_all(folders: dict[str, str]) -> None:
    large, tiles = pictures(height=32).repeat_interleave(2, 2).repeat_interleave(2, 3), 2 * 2 + 1
    settings = {"do_image_splitting": True, "size": {"longest_edge": 64}}
    told = encoder(folders["smolvlm"], pictures=settings)(large, SAID)
    assert told.visual.shape == (2, 2, tiles * 16, 24)
    other = large.clone()
    other[1, 0, 40:, 40:] = 0  # the last tile of a picture, and all of it seen small
    off = (encoder(folders["smolvlm"], pictures=settings)(other, SAID).visual - told.visual).abs().amax(dim=-1)
    changed = (off > 1e-4).view(2, 2, tiles, 16).any(dim=-1)
    assert changed[1, 0].tolist() == [False, False, False, True, True] and changed.sum() == 2


@torch.no_grad()
def test_half_precision_and_moves(folder: str) -> None:
    half, full = encoder(folder, dtype="bfloat16"), encoder(folder)
    told = half(pictures(), SAID)
    assert told.cognitive.dtype == told.visual.dtype == torch.bfloat16
    assert (told.visual.float() - full(pictures(), SAID).visual).abs().mean() < 0.05
    assert full.to(torch.float64)(pictures(), SAID).cognitive.dtype == torch.float64


@torch.no_grad()
def test_threads_do_not_mix_what_they_see(folders: dict[str, str]) -> None:
    vlm, images = encoder(folders["smolvlm"]), [pictures(seed=seed) for seed in range(2)]
    alone = [vlm(each, SAID) for each in images]
    together = threading.Barrier(2, timeout=60)

    def wait(*_: object) -> None:
        together.wait()

    vlm.model.get_encoder("image").register_forward_pre_hook(wait)
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda each: torch.no_grad()(vlm)(each, SAID), images))
    for one, other in zip(alone, told, strict=True):
        assert_close(one, other)


def test_a_frozen_encoder_does_not_learn(folder: str) -> None:
    vlm = encoder(folder).train()
    assert not any(module.training for module in vlm.model.modules())
    assert not any(weight.requires_grad for weight in vlm.parameters())
    assert not vlm(pictures(), SAID).cognitive.requires_grad


def test_adapters_learn_in_the_language_model_alone(folder: str) -> None:
    vlm = encoder(folder, tuning="lora", lora_rank=2).train()
    base = vlm(pictures(), SAID)
    base.cognitive.pow(2).sum().backward()
    learns = {name for name, weight in vlm.named_parameters() if weight.requires_grad}
    assert {name for name, weight in vlm.named_parameters() if weight.grad is not None and weight.grad.any()} == {
        name
        for name in learns
        if "lora_B" in name  # the other half begins to learn after the first step
    }
    layers = sum(isinstance(module, torch.nn.Linear) for module in encoder(folder).model.get_decoder().modules())
    assert len(learns) == 2 * layers
    assert all(".layers." in name and "vision" not in name and "visual" not in name for name in learns)


def test_adapters_only_where_they_are_wanted(folder: str) -> None:
    vlm = encoder(folder, tuning="lora", lora_targets=["q_proj", "v_proj"])
    learns = [name for name, weight in vlm.named_parameters() if weight.requires_grad]
    assert len(learns) == 3 * 2 * 2 and all("q_proj" in name or "v_proj" in name for name in learns)
    with pytest.raises(ValueError, match=r"no linear layer 'query'; layers: down_proj, .*v_proj"):
        encoder(folder, tuning="lora", lora_targets=["q_proj", "query"])


@torch.no_grad()
def test_adapters_are_saved_apart(folder: str, tmp_path: Path) -> None:
    vlm = encoder(folder, tuning="lora", lora_rank=2)
    untrained = vlm(pictures(), SAID).cognitive
    assert_close(untrained, encoder(folder)(pictures(), SAID).cognitive)
    for name, weight in vlm.named_parameters():
        if weight.requires_grad:
            weight.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    vlm.save_pretrained(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".md") == [".json", ".safetensors"]
    other = encoder(folder, tuning="lora", lora_rank=2)
    other.load_adapters(tmp_path)
    assert torch.equal(other(pictures(), SAID).cognitive, vlm(pictures(), SAID).cognitive)
    assert (vlm(pictures(), SAID).cognitive - untrained).abs().max() > 1e-2
    with pytest.raises(CheckpointError, match="of another size"):
        encoder(folder, tuning="lora", lora_rank=3).load_adapters(tmp_path)
    with pytest.raises(CheckpointError, match="of another network"):
        encoder(folder, tuning="lora", lora_rank=2, lora_targets=["q_proj"]).load_adapters(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        other.load_adapters(tmp_path / "elsewhere")


def test_all_of_it_learns_and_is_saved(folder: str, tmp_path: Path) -> None:
    vlm = encoder(folder, tuning="full").train()
    optimizer = torch.optim.SGD(vlm.parameters(), lr=0.01)
    told = vlm(pictures(), SAID)
    (told.cognitive.pow(2).mean() + told.visual.pow(2).mean()).backward()
    assert [name for name, weight in vlm.named_parameters() if weight.grad is None] == []
    optimizer.step()
    vlm.save_pretrained(tmp_path)
    vlm.eval()
    with torch.no_grad():
        loaded = encoder(str(tmp_path))(pictures(), SAID)
        assert torch.equal(loaded.cognitive, vlm(pictures(), SAID).cognitive)
        assert (loaded.cognitive - told.cognitive).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen3_vl", "paligemma2", "huggingface"])
def test_conf_describes_it(folders: dict[str, str], name: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        parts = OmegaConf.to_container(compose(f"vlm/{name}").vlm)
    ours = folders["qwen3_vl" if name == "huggingface" else name.rstrip("2")]
    vlm = build(parts | {"path": ours, "dtype": "float32", "image_size": 32}).load()
    assert_close(vlm(pictures(), SAID), encoder(ours)(pictures(), SAID))


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"tuning": "some"}, "expected frozen, lora or full"), ({"prompt": "do it"}, "has no {instruction}")],
)
def test_wrong_settings_are_named(folders: dict[str, str], settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder(folders["smolvlm"], **settings)


def test_what_is_no_image_text_model_is_named(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": 9,
    }
    LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is no image-text model that can be used"):
        encoder(str(tmp_path))
    with pytest.raises(CheckpointError, match="no folder"):
        encoder(str(tmp_path / "none" / "there"))


def test_a_model_of_another_build_is_named(tmp_path: Path) -> None:
    part = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BlipForConditionalGeneration(
        BlipConfig(text_config=part | {"vocab_size": 9}, vision_config=part | {"image_size": 8, "patch_size": 8})
    ).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="a BlipForConditionalGeneration is not one language model under a head"):
        encoder(str(tmp_path))


def test_a_model_without_its_weights_is_named(folders: dict[str, str], tmp_path: Path) -> None:
    for file in Path(folders["smolvlm"]).glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match="is no image-text model that can be used"):
        encoder(str(tmp_path))


@pytest.mark.parametrize("sign", ["<image>", "</s>"])
def test_an_instruction_cannot_pretend_to_be_a_sign_of_the_model(folders: dict[str, str], sign: str) -> None:
    with pytest.raises(ValueError, match="may not hold the model's own sign"):
        encoder(folders["smolvlm"])(pictures(), [SAID[0], f"push {sign} the button"])


def test_another_number_of_pictures_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="1 pictures a moment, expected 2"):
        encoder(folders["smolvlm"])(pictures()[:, :1], SAID)


def test_the_hub_is_asked_once_and_its_silence_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="no folder nobody/nothing, and the hub gives nothing of that name"):
        encoder("nobody/nothing")


@pytest.mark.parametrize("module", sorted(path.name for path in Path(weights.__file__).parent.glob("*.py")))
def test_importing_it_loads_no_transformers(module: str) -> None:
    source = (Path(weights.__file__).parent / module).read_text(encoding="utf-8")
    heavy = {"transformers", "timm", "peft", "accelerate", "huggingface_hub"}
    assert heavy & {name.split(".")[0] for name in imported_on_import(ast.parse(source))} == set()
