"""Build a small random model of a family: `python tiny_models.py FAMILY FOLDER`.

Runs in the environment of vLLM, whose transformers knows all families. The weights are random, the
chat templates behave like those of the published models. Nothing is downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_families import FAMILIES

TEMPLATES = Path(__file__).parents[1] / "tests" / "support" / "templates"


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
