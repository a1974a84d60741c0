"""Tiny random models of several families, saved as folders. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from dreamr.conversation import Conversation, Image, Text, Turn
from dreamr.engines.local.judging import Judging
from dreamr.engines.local.load import Loaded, load
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.prompts import Questions

QUESTION = "Is the last step right? Answer positive or negative."
FAMILIES = ("qwen3", "llava", "qwen2_5_vl", "qwen3_vl")
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|image_pad|>",
    "<|vision_end|>",
]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "The red circle is positive, the blue square is negative. Is the last step right?",
    "Tea costs 3.20 and milk costs 1.45. Together: 3.20 + 1.45 = 4.65.\n\nThe answer is 4.65.",
    "Answer positive or negative. So the last step is positive.\n\nIt was negative before.",
    "Grüße, naïve café: 東京 и Москва.",
] * 20


def make_tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:2] + SPECIAL[3:],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


TEXT = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 640,
    "initializer_range": 0.2,
    "tie_word_embeddings": True,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}


def _qwen3(_: dict[str, int]) -> Any:
    config = Qwen3Config(**TEXT, head_dim=32)
    return Qwen3ForCausalLM(config), None


def _llava(ids: dict[str, int]) -> Any:
    tower = SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=144,
        patch_size=24,
        vision_use_head=False,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=Qwen3Config(**TEXT, head_dim=32),
        image_token_id=ids["<|image_pad|>"],
        image_seq_length=36,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    images = SiglipImageProcessorPil(
        size={"height": 144, "width": 144}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return LlavaForConditionalGeneration(config), images


def _qwen_vl(ids: dict[str, int]) -> dict[str, Any]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": 399,
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }


def _qwen_images(patch: int) -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(
        patch_size=patch, size={"shortest_edge": 1024, "longest_edge": 128 * 128}
    )


def _qwen2_5_vl(ids: dict[str, int]) -> Any:
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    text = TEXT | {"rope_parameters": MROPE}
    config = Qwen2_5_VLConfig(vision_config=vision, text_config=text, **_qwen_vl(ids))
    return Qwen2_5_VLForConditionalGeneration(config), _qwen_images(14)


def _qwen3_vl(ids: dict[str, int]) -> Any:
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    text = TEXT | {"head_dim": 16, "rope_parameters": MROPE | {"mrope_interleaved": True}}
    config = Qwen3VLConfig(vision_config=vision, text_config=text, **_qwen_vl(ids))
    return Qwen3VLForConditionalGeneration(config), _qwen_images(16)


BUILDERS = {
    "qwen3": _qwen3,
    "llava": _llava,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
}


def _hybrid() -> Any:
    config = Qwen3_5TextConfig(
        **TEXT,
        head_dim=16,
        layer_types=["linear_attention", "full_attention", "linear_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
    )
    return Qwen3_5ForCausalLM(config)


def _sliding() -> Any:
    config = Gemma3TextConfig(
        **TEXT,
        head_dim=16,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    return Gemma3ForCausalLM(config)


STATEFUL = {"recurrent": _hybrid, "sliding": _sliding}


def vary_norms(model: Any) -> None:
    """Randomize the weights of norms. Initially they are ones, which hides errors in their use."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                weight.uniform_(0.5, 1.5)


def save_model(family: str, folder: Path) -> Path:
    """Save a tiny random model of a family like a published one."""
    tokenizer = make_tokenizer()
    ids = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in SPECIAL}
    torch.manual_seed(FAMILIES.index(family))
    model, images = BUILDERS[family](ids)
    vary_norms(model)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if family == "llava":
        LlavaProcessor(
            image_processor=images,
            tokenizer=tokenizer,
            patch_size=24,
            vision_feature_select_strategy="full",
            chat_template=TEMPLATE,
            image_token="<|image_pad|>",
        ).save_pretrained(folder)
    elif images is not None:
        images.save_pretrained(folder)
    return folder


def save_stateful(kind: str, folder: Path) -> Path:
    """Save a text model whose layers have state that cannot be rewound."""
    tokenizer = make_tokenizer()
    torch.manual_seed(3)
    model = STATEFUL[kind]()
    model.generation_config.eos_token_id = int(tokenizer.convert_tokens_to_ids(SPECIAL[2]))
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load_from(folder: Path, **options: Any) -> Loaded:
    """Load a model as a worker does."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        return load(str(folder), LocalOptions(**options))


@contextmanager
def counted_passes(loaded: Loaded) -> Iterator[list[int]]:
    """Record the number of rows of each forward pass, in either decoder."""
    rows: list[int] = []
    module = loaded.model.hf.get_decoder()

    def seen(_: Any, __: Any, given: dict[str, Any]) -> None:
        rows.append(given["inputs_embeds"].shape[1])

    hook = module.register_forward_pre_hook(seen, with_kwargs=True)
    decoder = loaded.model.decoder
    kept = {name: getattr(decoder, name) for name in ("_row", "_rows") if hasattr(decoder, name)}
    for name, run in kept.items():
        setattr(decoder, name, _counting(run, rows))
    try:
        yield rows
    finally:
        hook.remove()
        for name, run in kept.items():
            setattr(decoder, name, run)


def _counting(run: Any, rows: list[int]) -> Any:
    def counted(x: Any, *given: Any) -> Any:
        rows.append(len(x) if x.ndim == 2 else 1)
        return run(x, *given)

    return counted


def judging(loaded: Loaded, question: str = QUESTION) -> Judging:
    options = LocalOptions()
    with torch.inference_mode():
        return Judging(loaded, Questions(question), options.labels, options.prefill)


def image(seed: int, width: int = 100, height: int = 70) -> Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image(noise.tobytes(), width, height)


def conversation(question: str = "What do tea and milk cost?", *images: Image) -> Conversation:
    return Conversation((Turn("user", (*images, Text(question))),))


def question_for(loaded: Loaded, seed: int = 0) -> Conversation:
    """Return a question, with an image if the model accepts images."""
    images = (image(seed),) if loaded.model.takes_images else ()
    return conversation(f"What do tea and milk cost, case {seed}?", *images)
