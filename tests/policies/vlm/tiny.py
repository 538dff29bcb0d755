"""Small tokenizers, so that the real classes can be built with nothing downloaded."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = "in out what action should the robot take to push press red blue green button open drawer cup please now"


def tokenizer(begins: str | None = "<s>", special: Sequence[str] = (), **names: str) -> PreTrainedTokenizerFast:
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
        additional_special_tokens=list(special), **names,
    )  # fmt: skip
