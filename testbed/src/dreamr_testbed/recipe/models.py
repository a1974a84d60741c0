"""Architecture of the bundled pair: LLaVA with a SigLIP tower and a Qwen3 decoder."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen3Config,
    SiglipVisionConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from dreamr.errors import ModelNotFound
from dreamr.tooling import first_line
from dreamr_testbed.recipe.tokens import END, IMAGE, PAD
from dreamr_testbed.suites import GRID, PATCH, SIDE

Part = TypeVar("Part")

IMAGE_TOKENS = GRID * GRID
CONTEXT = 1024
ON_TOP = 2  # number of new layers that `grow` puts above all old ones


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a model.

    Attributes:
        layers: Layers of the decoder.
        width: Hidden size of the decoder.
        inner: Inner size of the decoder's MLPs.
        heads: Attention heads of the decoder.
        kv_heads: Key and value heads of the decoder.
        tower_layers: Layers of the tower.
        tower_width: Hidden size of the tower.
    """

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    tower_layers: int
    tower_width: int


def build_model(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Create a model with random weights from torch's global generator."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (PAD, END, IMAGE)}
    text = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=ids[PAD],
        eos_token_id=ids[END],
        bos_token_id=None,
    )
    tower = SiglipVisionConfig(
        hidden_size=size.tower_width,
        intermediate_size=3 * size.tower_width,
        num_hidden_layers=size.tower_layers,
        num_attention_heads=size.tower_width // 32,
        image_size=SIDE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    config = LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_id=ids[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids[END]
    model.generation_config.pad_token_id = ids[PAD]
    return model


def grow(
    model: LlavaForConditionalGeneration, size: Size, tokenizer: PreTrainedTokenizerFast
) -> LlavaForConditionalGeneration:
    """Add layers to a model without changing what it computes.

    A shallow model learns the same skills in a fraction of the time; depth is trained afterwards,
    from a model that already reasons (compare layer stacking, arXiv 2405.15319). Two of the new
    layers are above all old ones, since a verdict needs them: one can compare the tokens with
    those that the model would have written, the next can aggregate the result.

    Args:
        model: The model to grow.
        size: Size of the result.
        tokenizer: Tokenizer of the model.
    """
    grown = build_model(size, tokenizer)
    old = model.model.language_model.layers
    new = grown.model.language_model.layers
    below = max(len(old), len(new) - ON_TOP)
    _move_in(model, grown, [i * below // len(old) for i in range(len(old))])
    return grown


def insert(
    model: LlavaForConditionalGeneration,
    size: Size,
    tokenizer: PreTrainedTokenizerFast,
    at: int,
) -> LlavaForConditionalGeneration:
    """Add one layer to a model without changing what it computes.

    Args:
        model: The model to grow.
        size: Size of the result.
        tokenizer: Tokenizer of the model.
        at: Number of layers below the new one.
    """
    grown = build_model(size, tokenizer)
    _move_in(model, grown, [i + (i >= at) for i in range(size.layers - 1)])
    return grown


@torch.no_grad()
def _move_in(
    model: LlavaForConditionalGeneration, grown: LlavaForConditionalGeneration, homes: list[int]
) -> None:
    """Copy all weights, old layers to the given indices; set the outputs of other layers to 0."""
    old = model.model.language_model.layers
    new = grown.model.language_model.layers
    state = {k: v for k, v in model.state_dict().items() if ".language_model.layers." not in k}
    grown.load_state_dict(state, strict=False)
    for at, layer in enumerate(new):
        if at in homes:
            layer.load_state_dict(old[homes.index(at)].state_dict())
        else:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Create the processor that is saved with the weights; it works without torchvision."""
    images = SiglipImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        resample=2,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=tokenizer.chat_template,
        image_token=IMAGE,
    )


def load_model(path: Path) -> LlavaForConditionalGeneration:
    """Load a saved model in float32.

    Raises:
        ModelNotFound: If there is none.
    """
    kind = LlavaForConditionalGeneration
    return _load(path, lambda: kind.from_pretrained(path, dtype=torch.float32))


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a saved model.

    Raises:
        ModelNotFound: If there is none.
    """
    return _load(path, lambda: PreTrainedTokenizerFast.from_pretrained(path))


def _load(path: Path, load: Callable[[], Part]) -> Part:
    if not path.is_dir():  # transformers would look for it on the Hugging Face hub
        raise ModelNotFound(f"{path} is not a folder: name the folder of a saved model")
    try:
        return load()
    except Exception as error:  # of transformers, tokenizers, safetensors or torch
        raise ModelNotFound(f"cannot load the model in {path}: {first_line(error)}") from error


def rename_tower(path: Path) -> None:
    """Rename the tower's weights as vLLM expects them; transformers loads both names.

    A model that was loaded with such names is saved with them and needs no renaming.
    """
    deeper = re.compile(r"vision_tower\.(?!vision_model\.)")
    weights = {
        deeper.sub("vision_tower.vision_model.", name, count=1): tensor
        for name, tensor in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})
