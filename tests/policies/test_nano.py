"""The encoder reads words, pictures and the body, and every part of it learns."""

import torch

from policies.vlm.nano import PAD, UNKNOWN, NanoConfig, NanoVLM, tokenize

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
