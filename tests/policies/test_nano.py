"""The encoder reads words, pictures and the body, and every part of it learns."""

import torch

from policies.vlm.nano import PAD, UNKNOWN, NanoConfig, NanoVLM, Pointing, contrast, embed_cells, tokenize

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
    turned = images.clone()
    turned[:, 1] = images[:, 1].flip(1)  # the wrist camera alone
    for changed in ((turned, words, body), (images, words.flip(0), body), (images, words, -body)):
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
    table = torch.full((1, 64, 64, 3), 204, dtype=torch.uint8)
    cube = table.clone()
    cube[:, 33:37, 33:37] = torch.tensor([230, 26, 26], dtype=torch.uint8)
    with torch.no_grad():
        grid, without = (vlm.norm_grid(vlm.stem(contrast(picture)))[0] for picture in (cube, table))
    seen = (grid - without)[4 * 8 + 4].std()
    assert seen > 0.5 * vlm.place[0].std(dim=0).mean()


def test_every_cell_has_a_place_of_its_own_and_near_cells_are_alike() -> None:
    places = embed_cells(8, 32)
    apart = (places[:, None] - places).norm(dim=-1)
    assert (apart + 10 * torch.eye(64)).min() > 0.1
    assert apart[0, 1] < apart[0, 3] and apart[0, 8] < apart[0, 24]


def test_contrast_is_the_same_in_dim_light_and_nothing_on_an_empty_picture() -> None:
    images = inputs()[0].flatten(0, 1)
    torch.testing.assert_close(contrast(images // 2 * 2), contrast(images // 2), atol=0.02, rtol=0)
    assert contrast(torch.full((1, 8, 8, 3), 190, dtype=torch.uint8)).abs().max() < 1e-5


def test_a_token_that_means_one_cell_points_there_and_takes_up_what_is_there() -> None:
    torch.manual_seed(0)
    pointing = Pointing(dim=16, views=2, side=4, proprio=3)
    for part in (pointing.query, pointing.key, pointing.nowhere, pointing.within[2]):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    with torch.no_grad():
        pointing.query.bias[0] = 1000.0
        pointing.key.weight[0, 0] = 1.0
    x, grid, body = torch.randn(1, 1, 16), torch.zeros(1, 2 * 16, 16), torch.zeros(1, 3)
    grid[0, 6, 0] = grid[0, 16 + 9, 0] = 1.0  # row 1, column 2 of the first picture; row 2, column 1 of the second
    told, points = pointing(x, grid, body)
    assert points.cells.argmax(-1).flatten().tolist() == [6, 9]
    torch.testing.assert_close(points.at[0, :, 0], torch.tensor([[2.5, 1.5], [1.5, 2.5]]) / 4)
    grid[0, 7, 5] = 3.0  # beside it
    torch.testing.assert_close(pointing(x, grid, body)[0], told)
    grid[0, 6, 5] = 3.0
    assert not torch.allclose(pointing(x, grid, body)[0], told)
