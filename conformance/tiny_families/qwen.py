"""Families of Qwen: images, videos and sounds."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tiny_families.vocabulary import MROPE, SMALL, Built, Vocabulary

QWEN_TOKENS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|image_pad|> "
    "<|video_pad|>"
)


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
