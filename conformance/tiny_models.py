"""Build a small random model of a family: `python tiny_models.py FAMILY FOLDER`.

Runs in the environment of vLLM, whose transformers knows all families. The weights are random, the
chat templates behave like those of the published models. Nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEMPLATES = Path(__file__).parents[1] / "tests" / "support" / "templates"
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
SIGLIP = {**VISION, "image_size": 64, "patch_size": 16, "vision_use_head": False}
QWEN_TOKENS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|image_pad|> "
    "<|video_pad|>"
)
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
        breaks = ["\n\n", "\n\n\n", "\n\n\n\n"] if "<start_of_image>" in names else []
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


def _qwen_ids(words: Vocabulary) -> dict[str, Any]:
    return {
        "image_token_id": words["<|image_pad|>"],
        "video_token_id": words["<|video_pad|>"],
        "vision_start_token_id": words["<|vision_start|>"],
        "vision_end_token_id": words["<|vision_end|>"],
        "tie_word_embeddings": False,
    }


def _qwen_vision(patch: int = 16) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_heads": 2,
        "out_hidden_size": 128,
        "patch_size": patch,
        "num_position_embeddings": 64,
    }


def _qwen_words() -> Vocabulary:
    return Vocabulary(
        QWEN_TOKENS,
        end="<|im_end|>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )


def _qwen_processor(words: Vocabulary, template: str) -> Any:
    frames = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "size": SMALL}
    return hf.Qwen3VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(patch_size=16, size=SMALL),
        tokenizer=words.tokenizer,
        video_processor=hf.Qwen3VLVideoProcessor(**frames),
        chat_template=template,
    )


def qwen3_vl(template: str) -> Built:
    words = _qwen_words()
    text = words.text | {"rope_parameters": MROPE | {"mrope_interleaved": True}}
    vision = _qwen_vision() | {"deepstack_visual_indexes": [0]}
    config = hf.Qwen3VLConfig(vision_config=vision, text_config=text, **_qwen_ids(words))
    return hf.Qwen3VLForConditionalGeneration(config), _qwen_processor(words, template), words


def qwen3_5(template: str) -> Built:
    words = _qwen_words()
    text = words.text | {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "rope_parameters": {**MROPE, "mrope_interleaved": True, "partial_rotary_factor": 1.0},
    }
    config = hf.Qwen3_5Config(vision_config=_qwen_vision(), text_config=text, **_qwen_ids(words))
    return hf.Qwen3_5ForConditionalGeneration(config), _qwen_processor(words, template), words


FAMILIES: dict[str, Callable[[str], Built]] = {
    "qwen3_vl_instruct": qwen3_vl,
    "qwen3_vl_thinking": qwen3_vl,
    "qwen3_5": qwen3_5,
}


def _speak_words(model: Any, tokenizer: Any) -> None:
    """Keep the model from writing anything but whole words, each with a space in front.

    Tokens of random models rarely are the tokens of their text.
    """
    weight = model.get_output_embeddings().weight
    words = [id for token, id in tokenizer.get_vocab().items() if token[1:].isalpha()]
    written = [id for id in words if tokenizer.convert_ids_to_tokens(id)[0] == "\u0120"]
    silent = torch.ones(len(weight), dtype=torch.bool)
    silent[written] = False
    with torch.no_grad():
        weight[silent] = 0.0


def build(family: str, folder: Path) -> None:
    """Save a model of a family."""
    template = (TEMPLATES / f"{family}.jinja").read_text()
    torch.manual_seed(7)
    model, processor, words = FAMILIES[family](template)
    _speak_words(model, words.tokenizer)
    words.tokenizer.chat_template = template
    model.generation_config.eos_token_id = words.tokenizer.eos_token_id
    model.generation_config.pad_token_id = words.tokenizer.pad_token_id
    model.save_pretrained(folder)
    (processor or words.tokenizer).save_pretrained(folder)
    words.tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
