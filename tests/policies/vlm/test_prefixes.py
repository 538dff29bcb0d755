"""Held prefixes: the same numbers from fewer tokens."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from policies.vlm.huggingface import HuggingFaceEncoder
from policies.vlm.prefixes import Prefix, Prefixes, state_of, why_not_held
from tests.policies.vlm.test_huggingface import SAID, assert_close, encoder, pictures
from tests.policies.vlm.tiny import save_family

CAUSAL = ["qwen3_vl", "smolvlm"]
OTHERS = ["press the blue button now", "push the red cup"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: save_family(name, tmp_path_factory.mktemp(name)) for name in (*CAUSAL, "paligemma", "gemma3")}


@pytest.fixture(params=CAUSAL)
def folder(request: pytest.FixtureRequest, folders: dict[str, str]) -> str:
    return folders[request.param]


@contextmanager
def reading(vlm: HuggingFaceEncoder) -> Iterator[dict[str, int]]:
    """Counts the tokens that the language model and its tower read."""
    count = {"language": 0, "tower": 0}

    def language(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        count["language"] += given[0].shape[0] * given[0].shape[1]

    def tower(_: nn.Module, __: object, told: object) -> None:
        count["tower"] += told.last_hidden_state.shape[:-1].numel()  # type: ignore[attr-defined]

    hooks = [
        vlm.model.get_decoder().layers[0].register_forward_pre_hook(language),
        vlm.model.get_encoder("image").register_forward_hook(tower),
    ]
    yield count
    for hook in hooks:
        hook.remove()


def sizes(vlm: HuggingFaceEncoder) -> tuple[int, int, int]:
    """Tokens of the whole prompts, before the pictures, and up to their end."""
    numbers = vlm.read(pictures(), SAID)[0]["input_ids"]
    places = (numbers[0] == vlm.model.config.image_token_id).nonzero()
    return numbers.shape[1], int(places[0]), int(places[-1]) + 1


@torch.no_grad()
def test_another_instruction_about_the_same_pictures_reads_the_instruction_alone(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=4), encoder(folder)
    whole, begin, end = sizes(vlm)
    with reading(vlm) as first:
        assert_close(vlm(pictures(), SAID), plain(pictures(), SAID))
    assert first == {"language": begin + 2 * (whole - begin), "tower": 2 * 2 * 16}
    with reading(vlm) as second:
        told = vlm(pictures(), OTHERS)
    assert_close(told, plain(pictures(), OTHERS))
    with reading(plain) as without:
        plain(pictures(), OTHERS)
    assert second == {"language": without["language"] - 2 * end, "tower": 0}


@torch.no_grad()
def test_new_pictures_are_read_but_not_the_text_before_them(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=4), encoder(folder)
    whole, begin, _ = sizes(vlm)
    assert begin > 3
    vlm(pictures(), SAID)
    with reading(vlm) as count:
        assert_close(vlm(pictures(seed=1), SAID), plain(pictures(seed=1), SAID))
    assert count == {"language": 2 * (whole - begin), "tower": 2 * 2 * 16}


@torch.no_grad()
def test_many_instructions_about_one_picture_read_it_once(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=4), encoder(folder)
    images, said = pictures(1).expand(4, -1, -1, -1, -1), [*SAID, *OTHERS]
    with reading(vlm) as count:
        assert_close(vlm(images, said), plain(images, said))
    assert count["tower"] == 2 * 16


@torch.no_grad()
def test_pictures_whose_tokens_look_at_one_another_are_held_whole(folders: dict[str, str]) -> None:
    vlm, plain = encoder(folders["gemma3"], prefixes=4), encoder(folders["gemma3"])
    whole, _, end = sizes(vlm)
    for said, read in ((SAID, 2 * whole), (OTHERS, None)):
        with reading(vlm) as count, reading(plain) as without:
            assert_close(vlm(pictures(), said), plain(pictures(), said))
        assert count["language"] == (read or without["language"] - 2 * end)
    with reading(vlm) as count:
        assert_close(vlm(pictures(seed=1), SAID), plain(pictures(seed=1), SAID))
    assert count["language"] == 2 * whole


@torch.no_grad()
def test_some_held_some_new_some_twice(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=8), encoder(folder)
    vlm(pictures(2), SAID)
    images = torch.cat([pictures(2, seed=5), pictures(2).flip(0), pictures(2, seed=5)])
    said = [*SAID, *OTHERS, *OTHERS]
    with reading(vlm) as count:
        assert_close(vlm(images, said), plain(images, said))
    assert count["tower"] == 2 * 2 * 16
    one = pictures(2)
    one[0, 1, 3, 3, 0] ^= 1  # one level of one pixel
    with reading(vlm) as count:
        assert_close(vlm(one, SAID), plain(one, SAID))
    assert count["tower"] == 2 * 16


@torch.no_grad()
def test_the_same_bytes_in_another_shape_are_another_picture(folders: dict[str, str]) -> None:
    vlm, plain = encoder(folders["qwen3_vl"], prefixes=4), encoder(folders["qwen3_vl"])
    upright = pictures(height=48)
    lying = upright.reshape(2, 2, 32, 48, 3)
    assert_close(vlm(upright, SAID), plain(upright, SAID))
    assert_close(vlm(lying, SAID), plain(lying, SAID))


@torch.no_grad()
def test_more_sessions_than_are_held(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=2), encoder(folder)
    for seed in (0, 1, 0):
        images, said = pictures(4, seed=seed), [*SAID, *OTHERS]
        assert_close(vlm(images, said), plain(images, said))
        assert len(vlm.prefixes.held) == 2


@torch.no_grad()
def test_other_weights_make_other_numbers(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=4), encoder(folder)
    before = vlm(pictures(), SAID)
    for each in (vlm, plain):
        each.model.get_decoder().layers[0].self_attn.v_proj.weight.mul_(1.5)
    after = vlm(pictures(), SAID)
    assert_close(after, plain(pictures(), SAID))
    assert (after.cognitive - before.cognitive).abs().max() > 1e-3
    assert vlm.to(torch.float64)(pictures(), SAID).cognitive.dtype == torch.float64


def test_nothing_is_held_while_gradients_are_computed(folder: str) -> None:
    vlm = encoder(folder, prefixes=4, tuning="lora")
    assert vlm(pictures(), SAID).cognitive.requires_grad
    with torch.no_grad():
        vlm.train()(pictures(), SAID)
    assert not vlm.prefixes.held


@torch.no_grad()
def test_words_before_pictures_are_read_anew(folder: str) -> None:
    vlm, plain = encoder(folder, prefixes=4), encoder(folder)
    for each in (vlm, plain):
        each.prompt = "{instruction} " + each.prompt.replace("{instruction}", "")
    for _ in range(2):
        assert_close(vlm(pictures(), SAID), plain(pictures(), SAID))
    assert not vlm.prefixes.held


def test_a_model_whose_tokens_look_ahead_holds_nothing(folders: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="can hold no prefixes: its tokens look ahead"):
        encoder(folders["paligemma"], prefixes=4)


def test_layers_that_hold_other_things_hold_nothing(folders: dict[str, str]) -> None:
    model = encoder(folders["smolvlm"]).model
    assert why_not_held(model, [10, 11, 12]) == ""
    model.get_decoder().config.layer_types = ["full_attention", "linear_attention", "full_attention"]
    assert "more than keys and values: linear_attention" in why_not_held(model, [10, 11, 12])


def test_replaced_weights_are_other_weights() -> None:
    layer = nn.Linear(2, 2)
    states = [state_of(layer)]
    layer.load_state_dict(layer.state_dict())
    states.append(state_of(layer))
    layer.load_state_dict({name: tensor.clone() for name, tensor in layer.state_dict().items()}, assign=True)
    states.append(state_of(layer))
    states.append(state_of(layer.double()))
    assert len(set(states)) == 4 and state_of(layer) == states[3]


def test_what_was_not_used_for_longest_goes_first() -> None:
    prefixes, some = Prefixes(2), [Prefix((), torch.empty(0)) for _ in range(3)]
    prefixes.put("a", some[0])
    prefixes.put("b", some[1])
    assert prefixes.get("a") is some[0]
    prefixes.put("c", some[2])
    assert (prefixes.get("a"), prefixes.get("b"), prefixes.get("c")) == (some[0], None, some[2])
