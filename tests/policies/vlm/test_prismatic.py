"""Upstream's encoder: its arithmetic, its names, what is saved and what is loaded."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from accelerate import init_empty_weights
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchvision import transforms
from transformers import LlamaConfig, LlamaModel

from policies.vlm import prismatic
from policies.vlm.prismatic import DINO, FORMAT, SIGLIP, PrismaticConfig, PrismaticVLM, read_config, renamed, resized
from robomem.errors import CheckpointError
from tests.policies.vlm.tiny import tokenizer

TOKENIZER = tokenizer()
SMALL = PrismaticConfig(
    image_size=28,
    dino={"embed_dim": 24, "depth": 3, "num_heads": 2},
    siglip={"embed_dim": 32, "depth": 4, "num_heads": 2},
    llm={
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": len(TOKENIZER),
    },
    ending=(5, 2),
    bucket=8,
)
SAID = ["Push the RED button", "open the drawer please, now"]


def small(seed: int = 0) -> PrismaticVLM:
    torch.manual_seed(seed)
    return PrismaticVLM(SMALL, TOKENIZER).eval()


def pictures(views: int = 1, size: int = 28) -> Tensor:
    return torch.randint(0, 256, (2, views, size, size, 3), generator=torch.Generator().manual_seed(1)).byte()


def upstream_names(vlm: PrismaticVLM) -> dict[str, Tensor]:
    """All that upstream's checkpoint holds: also the head, and what lies above the block that is read."""
    weights = dict(vlm.state_dict())
    for tower, name, sizes in (("dino", DINO, SMALL.dino), ("siglip", SIGLIP, SMALL.siglip)):
        whole = timm.create_model(name, pretrained=False, num_classes=0, img_size=28, **sizes)
        prefix = f"vision_backbone.{tower}_featurizer."
        weights |= {prefix + key: tensor for key, tensor in whole.state_dict().items() if prefix + key not in weights}
    return weights | {"llm_backbone.llm.lm_head.weight": torch.zeros(len(TOKENIZER), 32)}


def by_hand(weights: dict[str, Tensor], image: np.ndarray, instruction: str) -> tuple[Tensor, Tensor]:
    """One picture and instruction by timm, torchvision and transformers as upstream composes them."""
    seen = []
    for tower, name, sizes, mean, spread in (
        ("dino", DINO, SMALL.dino, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("siglip", SIGLIP, SMALL.siglip, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ):
        whole = timm.create_model(name, pretrained=False, num_classes=0, img_size=28, **sizes).eval()
        prefix = f"vision_backbone.{tower}_featurizer."
        whole.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        look = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, spread)])
        picture = Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)
        seen += whole.get_intermediate_layers(look(picture)[None], n={len(whole.blocks) - 2})
    visual = torch.cat(seen, dim=2)
    x = visual
    for layer in (0, 2, 4):
        x = functional.linear(x, *(weights[f"projector.projector.{layer}.{part}"] for part in ("weight", "bias")))
        x = functional.gelu(x) if layer < 4 else x
    llama = LlamaModel(LlamaConfig(**SMALL.llm, rms_norm_eps=1e-5, max_position_embeddings=4096)).eval()
    llama.load_state_dict(
        {k.removeprefix(p): v for k, v in weights.items() if k.startswith(p := "llm_backbone.llm.model.")}
    )
    prompt = f"In: What action should the robot take to {instruction.lower()}?\nOut: ".rstrip()
    said = llama.embed_tokens(torch.tensor([[*TOKENIZER(prompt).input_ids, 5, 2]]))
    sequence = torch.cat([said[:, :1], x, said[:, 1:]], dim=1)
    return llama(inputs_embeds=sequence).last_hidden_state[:, -1:], visual


@torch.no_grad()
def test_the_composition_is_upstreams() -> None:
    vlm, images = small(), pictures()
    told = vlm(images, SAID)
    assert told.cognitive.shape == (2, 1, vlm.cognitive_dim) and told.visual.shape == (2, 1, 4, vlm.visual_dim)
    weights = upstream_names(vlm)
    for k, instruction in enumerate(SAID):
        cognitive, visual = by_hand(weights, images[k, 0].numpy(), instruction)
        torch.testing.assert_close(told.visual[k], visual, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(told.cognitive[k], cognitive[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(100, 60), (20, 90), (28, 28)])
def test_pictures_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours = resized(torch.from_numpy(image)[None], 28)[0].permute(1, 2, 0).numpy()
    pillow = np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC), dtype=np.float32)
    assert np.abs(ours - pillow).max() <= 1
    assert np.abs(ours - pillow).mean() < 0.001


@torch.no_grad()
def test_padding_and_company_change_nothing() -> None:
    vlm, images = small(), pictures(views=2)
    together = vlm(images, SAID)
    assert vlm.words(SAID).numbers.shape[1] % 8 == 0
    alone = PrismaticVLM(replace(SMALL, bucket=1), TOKENIZER).eval()
    alone.load_state_dict(vlm.state_dict())
    for k in range(2):
        one = alone(images[k : k + 1], SAID[k : k + 1])
        torch.testing.assert_close(together.cognitive[k], one.cognitive[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.visual[k], one.visual[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_every_view_and_word_reaches_the_cognitive_token() -> None:
    vlm, images = small(), pictures(views=2)
    base = vlm(images, SAID).cognitive
    for view in range(2):
        other = images.clone()
        other[:, view] = 255 - other[:, view]
        assert (vlm(other, SAID).cognitive - base).abs().amax(dim=(1, 2)).min() > 1e-4
    assert (vlm(images, ["push the blue button"] * 2).cognitive - base).abs().amax(dim=(1, 2)).min() > 1e-4


def test_every_weight_gets_a_gradient() -> None:
    vlm = small()
    told = vlm(pictures(), SAID)
    (told.cognitive.pow(3).sum() + told.visual.pow(3).sum()).backward()
    assert [name for name, weight in vlm.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_a_whole_checkpoint_of_upstream_loads() -> None:
    vlm, other = small(), small(seed=1)
    names = upstream_names(vlm)
    assert {
        "vision_backbone.dino_featurizer.blocks.2.ls1.gamma",
        "vision_backbone.siglip_featurizer.attn_pool.latent",
        "projector.projector.4.bias",
        "llm_backbone.llm.model.layers.1.self_attn.q_proj.weight",
    } < names.keys()
    other.load_state_dict(names)
    assert all(torch.equal(a, b) for a, b in zip(vlm.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(RuntimeError, match="unknown"):
        other.load_state_dict(names | {"projector.unknown": torch.zeros(1)})


@torch.no_grad()
def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    vlm = small()
    vlm.save_pretrained(tmp_path)
    loaded = PrismaticVLM.from_pretrained(str(tmp_path), dtype="float32").eval()
    assert loaded.config == SMALL
    for ours, theirs in zip(loaded(pictures(), SAID), vlm(pictures(), SAID), strict=True):
        assert torch.equal(ours, theirs)
    half = PrismaticVLM.from_pretrained(str(tmp_path))
    told = half(pictures(), SAID)
    assert told.cognitive.dtype == told.visual.dtype == torch.bfloat16
    assert torch.equal(half.language_model.rotary_emb.inv_freq, loaded.language_model.rotary_emb.inv_freq)
    torch.testing.assert_close(told.cognitive.float(), vlm(pictures(), SAID).cognitive, atol=0.1, rtol=0.1)


def openvla_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of OpenVLA on the hub."""
    names = {}
    for name, tensor in weights.items():
        name = name.replace("dino_featurizer", "featurizer").replace("siglip_featurizer", "fused_featurizer")
        name = name.replace("llm_backbone.llm.", "language_model.").replace(".gamma", ".scale_factor")
        for layer, number in ((0, 1), (2, 2), (4, 3)):
            name = name.replace(f"projector.projector.{layer}.", f"projector.fc{number}.")
        names[name] = tensor
    return names


def test_names_of_openvla_become_upstreams() -> None:
    weights = upstream_names(small())
    theirs = openvla_names(weights)
    assert {
        "vision_backbone.featurizer.blocks.0.ls1.scale_factor",
        "vision_backbone.fused_featurizer.blocks.0.mlp.fc1.weight",
        "projector.fc3.bias",
        "language_model.model.embed_tokens.weight",
        "language_model.lm_head.weight",
    } < theirs.keys()
    assert renamed(theirs).keys() == weights.keys() == renamed(weights).keys()


def save_openvla(folder: Path, **about: object) -> None:
    """A folder as OpenVLA's on the hub, with weights of a small network in two files."""
    published = {
        "model_type": "openvla",
        "arch_specifier": "no-align+fused-gelu-mlp",
        "image_sizes": [224, 224],
        "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
        "text_config": {"model_type": "llama", "pad_token_id": 32000, "torch_dtype": "bfloat16", "vocab_size": 32064},
    }
    (folder / "config.json").write_text(json.dumps(published | about), encoding="utf-8")
    TOKENIZER.save_pretrained(folder)
    weights = openvla_names(upstream_names(small()))
    for part in range(2):
        some = {name: weights[name].clone() for name in sorted(weights)[part::2]}
        save_file(some, folder / f"model-0000{part + 1}-of-00002.safetensors")


def test_openvla_on_disk_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_openvla(tmp_path, image_sizes=[28, 28], text_config={"model_type": "llama", **SMALL.llm})
    told = read_config(tmp_path)
    assert (told.image_size, dict(told.dino), told.ending) == (28, {}, (29871, 2))
    monkeypatch.setattr(prismatic, "read_config", lambda folder: replace(SMALL, llm=read_config(folder).llm))
    loaded, vlm = PrismaticVLM.from_pretrained(str(tmp_path), dtype="float32").eval(), small()
    with torch.no_grad():
        assert torch.equal(loaded(pictures(), SAID).cognitive, vlm(pictures(), SAID).cognitive)


def test_published_sizes_are_upstreams(tmp_path: Path) -> None:
    save_openvla(tmp_path, text_config={"vocab_size": 32064, "num_hidden_layers": 1})
    with init_empty_weights():
        vlm = PrismaticVLM(read_config(tmp_path), TOKENIZER)
    assert (vlm.visual_dim, vlm.cognitive_dim) == (2176, 4096)
    shapes = {name: tuple(weight.shape) for name, weight in vlm.named_parameters()}
    assert shapes["vision_backbone.dino_featurizer.pos_embed"] == (1, 256, 1024)
    assert shapes["vision_backbone.dino_featurizer.reg_token"] == (1, 4, 1024)
    assert shapes["vision_backbone.siglip_featurizer.blocks.25.mlp.fc1.weight"] == (4304, 1152)
    assert shapes["projector.projector.0.weight"] == (8704, 2176)
    assert shapes["projector.projector.2.weight"] == (4096, 8704)
    assert shapes["llm_backbone.llm.model.embed_tokens.weight"] == (32064, 4096)
    assert shapes["llm_backbone.llm.model.layers.0.mlp.gate_proj.weight"] == (11008, 4096)
    assert vlm.language_model.config.rms_norm_eps == 1e-5


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("nothing there", "is no Prismatic encoder"),
        ("no json", "is no Prismatic encoder"),
        ("another kind", "is no Prismatic encoder"),
        ("one tower", "its towers are"),
        ("no weights", "no \\*.safetensors"),
        ("other sizes", "another network"),
    ],
)
def test_what_is_no_prismatic_is_named(tmp_path: Path, damage: str, said: str) -> None:
    save_openvla(tmp_path, text_config=SMALL.llm)
    if damage == "nothing there":
        (tmp_path / "config.json").unlink()
    if damage == "no json":
        (tmp_path / "config.json").write_text("{")
    if damage == "another kind":
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    if damage == "one tower":
        save_openvla(tmp_path, timm_model_ids=["vit_so400m_patch14_siglip_224"])
    if damage == "other sizes":
        other = replace(SMALL, dino={**SMALL.dino, "embed_dim": 16})
        (tmp_path / "config.json").write_text(json.dumps({"format": FORMAT, **asdict(other)}))
    if damage == "no weights":
        for file in tmp_path.glob("*.safetensors"):
            file.unlink()
    with pytest.raises(CheckpointError, match=said):
        PrismaticVLM.from_pretrained(str(tmp_path))


def test_a_tokenizer_that_does_not_begin_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with"):
        PrismaticVLM(SMALL, tokenizer(begins=None))


@pytest.mark.parametrize(
    ("images", "said", "error"),
    [
        (torch.zeros(2, 1, 28, 28, 3), SAID, "uint8"),
        (torch.zeros(2, 28, 28, 3).byte(), SAID, "uint8"),
        (torch.zeros(2, 1, 28, 28, 3).byte(), SAID[:1], "1 instructions for 2"),
        (torch.zeros(2, 1, 28, 28, 3).byte(), ["push", "push</s>"], "the model's own sign '</s>'"),
    ],
)
def test_wrong_inputs_are_refused(images: Tensor, said: list[str], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        small()(images, said)
