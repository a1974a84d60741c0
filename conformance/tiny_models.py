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
from safetensors import safe_open
from safetensors.torch import save_file
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


def _siglip(size: int = 64, patch: int = 16) -> dict[str, Any]:
    return {**VISION, "image_size": size, "patch_size": patch, "vision_use_head": False}


def _scaled(size: int = 64) -> dict[str, Any]:
    return {
        "size": {"height": size, "width": size},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }


def gemma3(template: str) -> Built:
    special = (
        "<pad> <bos> <eos> <start_of_turn> <end_of_turn> <start_of_image> <end_of_image> "
        "<image_soft_token>"
    )
    words = Vocabulary(
        special, end="<end_of_turn>", start="<bos>", boi_token="<start_of_image>",
        eoi_token="<end_of_image>", image_token="<image_soft_token>",
    )  # fmt: skip
    config = hf.Gemma3Config(
        vision_config=_siglip(),
        text_config=words.text | {"sliding_window": 512},
        mm_tokens_per_image=4,
        boi_token_index=words["<start_of_image>"],
        eoi_token_index=words["<end_of_image>"],
        image_token_index=words["<image_soft_token>"],
        tie_word_embeddings=False,
    )
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(**_scaled()), words.tokenizer, template, image_seq_length=4
    )
    return hf.Gemma3ForConditionalGeneration(config), processor, words


def gemma4_audio(template: str) -> Built:
    hears = hf.Gemma4AudioConfig(
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        subsampling_conv_channels=[16, 8],
        output_proj_dims=64,
        use_clipped_linears=False,
    )
    return gemma4(template, hears)


def gemma4(template: str, hears: Any = None) -> Built:
    special = (
        "<pad> <bos> <eos> <|turn> <turn|> <|channel> <channel|> <|think|> <|image> <image|> "
        "<|image|> <|audio> <audio|> <|audio|> <|video|>"
    )
    words = Vocabulary(
        special, end="<turn|>", start="<bos>", boi_token="<|image>", eoi_token="<image|>",
        image_token="<|image|>", boa_token="<|audio>", eoa_token="<audio|>",
        audio_token="<|audio|>",
    )  # fmt: skip
    config = hf.Gemma4Config(
        text_config={
            **words.text,
            "layer_types": ["sliding_attention", "full_attention"],
            "global_head_dim": 32,
            "vocab_size_per_layer_input": words.text["vocab_size"],
            "hidden_size_per_layer_input": 0,
        },
        # vLLM reads the length, which the class does not declare, from published files.
        vision_config={
            **VISION,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "default_output_length": 70,
        },
        audio_config=hears,
        boa_token_id=words["<|audio>"],
        eoa_token_id=words["<audio|>"],
        eoa_token_index=words["<audio|>"],
        audio_token_id=words["<|audio|>"],
        boi_token_id=words["<|image>"],
        eoi_token_id=words["<image|>"],
        image_token_id=words["<|image|>"],
        video_token_id=words["<|video|>"],
        tie_word_embeddings=False,
    )
    frames = {"patch_size": 16, "pooling_kernel_size": 3}
    processor = hf.Gemma4Processor(
        feature_extractor=hf.Gemma4AudioFeatureExtractor(),
        image_processor=hf.Gemma4ImageProcessor(**frames, max_soft_tokens=70),
        tokenizer=words.tokenizer,
        video_processor=hf.Gemma4VideoProcessor(**frames),
        chat_template=template,
        image_seq_length=70,
    )
    return hf.Gemma4ForConditionalGeneration(config), processor, words


def internvl(template: str) -> Built:
    special = "<|endoftext|> <|im_start|> <|im_end|> <img> </img> <IMG_CONTEXT> <video>"
    words = Vocabulary(
        special, end="<|im_end|>", start_image_token="<img>", end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>", video_token="<video>",
    )  # fmt: skip
    config = hf.InternVLConfig(
        vision_config={**VISION, "image_size": [64, 64], "patch_size": [16, 16]},
        text_config={**words.text, "model_type": "qwen3"},
        image_token_id=words["<IMG_CONTEXT>"],
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(**_scaled(), max_patches=1),
        tokenizer=words.tokenizer,
        video_processor=hf.InternVLVideoProcessor(**_scaled()),
        image_seq_length=4,
        chat_template=template,
    )
    return hf.InternVLForConditionalGeneration(config), processor, words


def llava_onevision(template: str) -> Built:
    words = Vocabulary(
        "<|endoftext|> <|im_start|> <|im_end|> <image> <video>",
        end="<|im_end|>", image_token="<image>", video_token="<video>",
    )  # fmt: skip
    config = hf.LlavaOnevisionConfig(
        vision_config=_siglip(),
        text_config={**words.text, "model_type": "qwen2"},
        image_token_index=words["<image>"],
        video_token_index=words["<video>"],
        image_grid_pinpoints=[[64, 64]],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        tie_word_embeddings=False,
    )
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(
            **_scaled(), image_grid_pinpoints=[[64, 64]]
        ),
        tokenizer=words.tokenizer,
        video_processor=hf.LlavaOnevisionVideoProcessor(**_scaled()),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=template,
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor, words


def idefics3(template: str) -> Built:
    special = (
        "<|endoftext|> <|im_start|> <end_of_utterance> <image> <fake_token_around_image> "
        "<global-img>"
    )
    words = Vocabulary(
        special, end="<end_of_utterance>", image_token="<image>",
        fake_image_token="<fake_token_around_image>", global_image_token="<global-img>",
    )  # fmt: skip
    config = hf.Idefics3Config(
        vision_config={**VISION, "image_size": 64, "patch_size": 16},
        text_config={**words.text, "model_type": "llama"},
        image_token_id=words["<image>"],
        scale_factor=2,
        tie_word_embeddings=False,
    )
    processor = hf.Idefics3Processor(
        hf.Idefics3ImageProcessor(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
        ),
        words.tokenizer,
        image_seq_len=4,
        chat_template=template,
    )
    return hf.Idefics3ForConditionalGeneration(config), processor, words


def mistral3(template: str) -> Built:
    words = Vocabulary(
        "<pad> <s> </s> [INST] [/INST] [IMG] [IMG_BREAK] [IMG_END] [SYSTEM_PROMPT] "
        "[/SYSTEM_PROMPT]",
        end="</s>", start="<s>", image_token="[IMG]", image_break_token="[IMG_BREAK]",
        image_end_token="[IMG_END]",
    )  # fmt: skip
    config = hf.Mistral3Config(
        vision_config={
            **VISION, "model_type": "pixtral", "image_size": 128, "patch_size": 16, "head_dim": 32
        },
        text_config={**words.text, "model_type": "mistral"},
        image_token_index=words["[IMG]"],
        spatial_merge_size=2,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )  # fmt: skip
    processor = hf.PixtralProcessor(
        image_processor=hf.PixtralImageProcessor(size={"longest_edge": 128}, patch_size=16),
        tokenizer=words.tokenizer,
        patch_size=16,
        spatial_merge_size=2,
        chat_template=template,
        image_token="[IMG]",
        image_break_token="[IMG_BREAK]",
        image_end_token="[IMG_END]",
    )
    return hf.Mistral3ForConditionalGeneration(config), processor, words


def qwen2_5_vl(template: str) -> Built:
    words = _qwen_words()
    vision = {
        **_qwen_vision(14), "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    text = words.text | {"rope_parameters": MROPE}
    config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **_qwen_ids(words))
    frames = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2, "size": SMALL}
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(patch_size=14, size=SMALL),
        tokenizer=words.tokenizer,
        video_processor=hf.Qwen2VLVideoProcessor(**frames),
        chat_template=template,
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor, words


def glm4v(template: str) -> Built:
    special = (
        "<|endoftext|> <|user|> <|assistant|> <|begin_of_image|> <|end_of_image|> <|image|> "
        "<|begin_of_video|> <|end_of_video|> <|video|> [gMASK] <sop>"
    )
    words = Vocabulary(special, end="<|user|>", image_token="<|image|>", video_token="<|video|>")
    text = words.text | {"rope_parameters": MROPE | {"partial_rotary_factor": 1.0}}
    config = hf.Glm4vConfig(
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2,
            "out_hidden_size": 128, "patch_size": 14, "image_size": 112,
        },
        text_config=text,
        image_token_id=words["<|image|>"],
        video_token_id=words["<|video|>"],
        image_start_token_id=words["<|begin_of_image|>"],
        image_end_token_id=words["<|end_of_image|>"],
        video_start_token_id=words["<|begin_of_video|>"],
        video_end_token_id=words["<|end_of_video|>"],
        tie_word_embeddings=False,
    )  # fmt: skip
    processor = hf.Glm4vProcessor(
        image_processor=hf.Glm4vImageProcessor(size=SMALL),
        tokenizer=words.tokenizer,
        video_processor=hf.Glm4vVideoProcessor(size=SMALL),
        chat_template=template,
    )
    return hf.Glm4vForConditionalGeneration(config), processor, words


def qwen2_audio(template: str) -> Built:
    words = Vocabulary(
        "<|endoftext|> <|im_start|> <|im_end|> <|AUDIO|> <|audio_bos|> <|audio_eos|>",
        end="<|im_end|>", audio_token="<|AUDIO|>", audio_bos_token="<|audio_bos|>",
        audio_eos_token="<|audio_eos|>",
    )  # fmt: skip
    config = hf.Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 128, "d_model": 64, "encoder_layers": 1, "encoder_attention_heads": 2,
            "encoder_ffn_dim": 96,
        },
        text_config={**words.text, "model_type": "qwen2"},
        audio_token_index=words["<|AUDIO|>"],
    )  # fmt: skip
    processor = hf.Qwen2AudioProcessor(
        hf.WhisperFeatureExtractor(feature_size=128), words.tokenizer, template
    )
    return hf.Qwen2AudioForConditionalGeneration(config), processor, words


FAMILIES: dict[str, Callable[[str], Built]] = {
    "gemma3": gemma3,
    "gemma4": gemma4,
    "gemma4_audio": gemma4_audio,
    "glm4v": glm4v,
    "idefics3": idefics3,
    "internvl": internvl,
    "llava_onevision": llava_onevision,
    "mistral3": mistral3,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen2_audio": qwen2_audio,
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


# Beginnings of the names of weights, as saved and as published: vLLM knows the latter only.
PUBLISHED = {
    "gemma3": ("vision_tower.", "vision_tower.vision_model."),
    "llava_onevision": ("vision_tower.", "vision_tower.vision_model."),
    "qwen2_audio": ("language_model.model.model.", "language_model.model."),
}


def _name_as_published(file: Path, saved: str, published: str) -> None:
    """Rename weights that begin with `saved`."""
    weights = {}
    with safe_open(file, "pt") as found:
        for name in found.keys():  # noqa: SIM118
            weights[name.replace(saved, published)] = found.get_tensor(name)
    save_file(weights, file, {"format": "pt"})


def build(family: str, folder: Path) -> None:
    """Save a model of a family."""
    named = "gemma4" if family == "gemma4_audio" else family
    template = (TEMPLATES / f"{named}.jinja").read_text()
    torch.manual_seed(7)
    model, processor, words = FAMILIES[family](template)
    _speak_words(model, words.tokenizer)
    words.tokenizer.chat_template = template
    model.generation_config.eos_token_id = words.tokenizer.eos_token_id
    model.generation_config.pad_token_id = words.tokenizer.pad_token_id
    model.save_pretrained(folder)
    if family in PUBLISHED:
        _name_as_published(folder / "model.safetensors", *PUBLISHED[family])
    (processor or words.tokenizer).save_pretrained(folder)
    words.tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
