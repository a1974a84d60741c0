"""Families of other makers: images, and videos of some."""

from __future__ import annotations

import transformers as hf

from tiny_families.vocabulary import MROPE, SMALL, VISION, Built, Vocabulary, scaled, siglip


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
        image_processor=hf.GotOcr2ImageProcessor(**scaled(), max_patches=1),
        tokenizer=words.tokenizer,
        video_processor=hf.InternVLVideoProcessor(**scaled()),
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
        vision_config=siglip(),
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
            **scaled(), image_grid_pinpoints=[[64, 64]]
        ),
        tokenizer=words.tokenizer,
        video_processor=hf.LlavaOnevisionVideoProcessor(**scaled()),
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
