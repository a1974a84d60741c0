"""Tokenizers of small models, and configurations that the families share."""

from __future__ import annotations

from typing import Any

import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = [
    "Two and two make four.\n\nThe answer is positive. The last step is negative?\n\n\n",
    "What is seen in the image? A red circle, a blue square.\n\n\n\nAnswer: 4 5 6",
    "So there are more and more of them, and each one was seen before the others came in.",
] * 20
TEXT: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
VISION: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
SMALL = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}


class Vocabulary:
    """Byte-level tokenizer with the special tokens of a family.

    Attributes:
        tokenizer: The tokenizer.
    """

    def __init__(self, special: str, *, end: str, start: str | None = None, **named: str) -> None:
        names = special.split()
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        breaks = ["\n" * count for count in range(1, 5)] if "<start_of_image>" in names else []
        trainer = trainers.BpeTrainer(
            vocab_size=420 + len(names),
            special_tokens=names,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(WORDS, trainer)
        bpe.add_tokens(breaks)
        self.tokenizer = hf.PreTrainedTokenizerFast(
            tokenizer_object=bpe,
            eos_token=end,
            pad_token=names[0],
            bos_token=start,
            additional_special_tokens=names[1:],
            clean_up_tokenization_spaces=False,
            extra_special_tokens=named,
        )
        self.size = len(self.tokenizer)

    def __getitem__(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))

    @property
    def text(self) -> dict[str, Any]:
        """Configuration of the language model."""
        return {**TEXT, "vocab_size": -(-self.size // 64) * 64}


Built = tuple[Any, Any, Vocabulary]  # model, processor or None for the tokenizer alone, vocabulary


def siglip(size: int = 64, patch: int = 16) -> dict[str, Any]:
    return {**VISION, "image_size": size, "patch_size": patch, "vision_use_head": False}


def scaled(size: int = 64) -> dict[str, Any]:
    return {
        "size": {"height": size, "width": size},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
