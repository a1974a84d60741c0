"""Families of Gemma: images, and sounds."""

from __future__ import annotations

from typing import Any

import transformers as hf

from tiny_families.vocabulary import VISION, Built, Vocabulary, scaled, siglip


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
        vision_config=siglip(),
        text_config=words.text | {"sliding_window": 512},
        mm_tokens_per_image=4,
        boi_token_index=words["<start_of_image>"],
        eoi_token_index=words["<end_of_image>"],
        image_token_index=words["<image_soft_token>"],
        tie_word_embeddings=False,
    )
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessor(**scaled()), words.tokenizer, template, image_seq_length=4
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
