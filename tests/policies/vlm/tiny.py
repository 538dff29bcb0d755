"""Small models of the real classes, with processors and tokenizers, made here: nothing is downloaded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SiglipImageProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

WORDS = "in out what action should the robot take to push press red blue green button open drawer cup please now"


def tokenizer(begins: str | None = "<s>", special: Sequence[str] = (), **names: Any) -> PreTrainedTokenizerFast:
    """Bytes, a few merges of whole words, and `special` tokens; prompts begin with `begins` where it is given."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    fixed = ["<unk>", "<s>", "</s>", "<pad>", *special]
    vocabulary = {token: number for number, token in enumerate([*fixed, *letters])}
    merges = []
    for word in sorted({f"Ġ{word}" for word in WORDS.split()}):
        for end in range(2, len(word) + 1):
            pair = word[: end - 1], word[end - 1]
            if pair not in merges:
                merges.append(pair)
                vocabulary[word[:end]] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if begins:
        made.post_processor = processors.TemplateProcessing(
            single=f"{begins} $A", pair=f"{begins} $A $B", special_tokens=[(begins, vocabulary[begins])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        **{"additional_special_tokens": list(special), **names},
    )  # fmt: skip


def template(picture: str) -> str:
    """A chat template that writes `picture` for each."""
    return (
        "{% for said in messages %}{{ said['role'] }}: {% for part in said['content'] %}"
        "{% if part['type'] == 'image' %}"
        + picture
        + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )


LANGUAGE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
TOWER = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def smolvlm() -> tuple[Any, Any]:
    """SmolVLM2's kind (Idefics3's too): a tower whose tokens are shuffled together 2 x 2, then Llama."""
    words = tokenizer(None, ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"])
    pictures = SmolVLMImageProcessor(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    processor = SmolVLMProcessor(
        pictures, words, SmolVLMVideoProcessor(), image_seq_len=4, chat_template=template("<image>")
    )
    config = SmolVLMConfig(
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
        vision_config=TOWER,
        text_config={"model_type": "llama", "vocab_size": len(words), "pad_token_id": words.pad_token_id, **LANGUAGE},
    )
    return SmolVLMForConditionalGeneration(config), processor


def paligemma() -> tuple[Any, Any]:
    """PaliGemma 2's kind: SigLIP, then Gemma 2, whose prompt looks both ways; no chat template."""
    words = tokenizer(None, ["<image>"])
    pictures = SiglipImageProcessor(size={"height": 32, "width": 32})
    pictures.image_seq_length = 16
    processor = PaliGemmaProcessor(pictures, words)
    config = PaliGemmaConfig(
        image_token_id=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
        text_config={"model_type": "gemma2", "vocab_size": len(words), "query_pre_attn_scalar": 8, **LANGUAGE},
    )
    return PaliGemmaForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    """Qwen3-VL's kind: as many patches as a picture is large, positions on a grid, features of several depths."""
    signs = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    words = tokenizer(None, list(signs.values()))
    pictures = Qwen2VLImageProcessor(size={"shortest_edge": 1024, "longest_edge": 4096}, patch_size=8, merge_size=2)
    chat = template("<|vision_start|><|image_pad|><|vision_end|>")
    processor = Qwen3VLProcessor(pictures, words, Qwen3VLVideoProcessor(), chat_template=chat)
    config = Qwen3VLConfig(
        **{name: words.convert_tokens_to_ids(sign) for name, sign in signs.items()},
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "depth": 3,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config={
            "vocab_size": len(words),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
            **LANGUAGE,
        },
    )
    return Qwen3VLForConditionalGeneration(config), processor


def gemma3() -> tuple[Any, Any]:
    """Gemma 3's kind: tokens of a picture look at one another both ways, all others only back."""
    signs = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    words = tokenizer(None, (), extra_special_tokens=signs)
    pictures = Gemma3ImageProcessor(size={"height": 32, "width": 32})
    processor = Gemma3Processor(pictures, words, chat_template=template("<start_of_image>"), image_seq_length=4)
    config = Gemma3Config(
        **{f"{name}_index": words.convert_tokens_to_ids(sign) for name, sign in signs.items()},
        mm_tokens_per_image=4,
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **TOWER},
        text_config={"vocab_size": len(words), "query_pre_attn_scalar": 8, **LANGUAGE},
    )
    return Gemma3ForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "smolvlm": smolvlm,
    "paligemma": paligemma,
    "qwen3_vl": qwen3_vl,
}
MORE = {"gemma3": gemma3}


def save_family(name: str, folder: Path, seed: int = 0) -> str:
    """A checkpoint as it would be published, of a small model with random weights; its folder."""
    torch.manual_seed(seed)
    model, processor = (FAMILIES | MORE)[name]()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.2)  # so large that every part weighs in
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
