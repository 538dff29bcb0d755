"""The encoder reads words, pictures and the body, and every part of it learns."""

import torch

from policies.vlm.nano import PAD, UNKNOWN, NanoConfig, NanoVLM, embed_cells, tokenize

SMALL = NanoConfig(image_size=32, dim=32, heads=2, layers=2, channels=(8, 16, 32), tokens=3, perceptual_dim=8, words=6)


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 255, (2, 2, 32, 32, 3), generator=random, dtype=torch.uint8)
    words = torch.tensor([tokenize("push the red button", 6), tokenize("push the blue button", 6)])
    return images, words, torch.randn(2, 11, generator=random)


def test_words_become_numbers_whatever_their_case() -> None:
    assert tokenize("Push the RED button!", 6) == tokenize("push, the red... button", 6)
    assert tokenize("push", 3)[1:] == [PAD, PAD]
    assert tokenize("pirouette", 1) == [UNKNOWN]
    assert len(tokenize("the " * 50, 6)) == 6
    assert tokenize("red", 1) != tokenize("blue", 1)


def test_tokens_have_their_shapes() -> None:
    cognitive, perceptual = NanoVLM(SMALL)(*inputs())
    assert cognitive.shape == (2, 1, 32) and perceptual.shape == (2, 3, 8)


def test_pictures_words_and_body_each_change_the_cognitive_token() -> None:
    torch.manual_seed(0)
    vlm = NanoVLM(SMALL).eval()
    images, words, body = inputs()
    base, _ = vlm(images, words, body)
    darker = images.clone()
    darker[:, 1] //= 2  # the wrist camera alone
    for changed in ((darker, words, body), (images, words.flip(0), body), (images, words, -body)):
        assert (vlm(*changed)[0] - base).abs().max() > 1e-4


def test_padding_words_say_nothing() -> None:
    torch.manual_seed(0)
    vlm = NanoVLM(SMALL).eval()
    images, words, body = inputs()
    base, _ = vlm(images, words, body)
    with torch.no_grad():
        vlm.word.weight[PAD] += 3.0
    assert torch.equal(base, vlm(images, words, body)[0])


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    vlm = NanoVLM(SMALL)
    cognitive, perceptual = vlm(*inputs())
    (cognitive.pow(3).sum() + perceptual.pow(3).sum()).backward()
    for name, weight in vlm.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_what_is_small_is_not_drowned_by_where_it_is() -> None:
    torch.manual_seed(0)
    vlm = NanoVLM(NanoConfig())
    table = torch.full((1, 3, 64, 64), 0.6)
    cube = table.clone()
    cube[:, :, 33:37, 33:37] = torch.tensor([0.8, -0.8, -0.8])[:, None, None]
    with torch.no_grad():
        grid, without = (vlm.norm_grid(vlm.stem(picture))[0] for picture in (cube, table))
    seen = (grid - without)[4 * 8 + 4].std()
    assert seen > 0.5 * vlm.place[0].std(dim=0).mean()


def test_every_cell_has_a_place_of_its_own_and_near_cells_are_alike() -> None:
    places = embed_cells(8, 32)
    apart = (places[:, None] - places).norm(dim=-1)
    assert (apart + 10 * torch.eye(64)).min() > 0.1
    assert apart[0, 1] < apart[0, 3] and apart[0, 8] < apart[0, 24]
