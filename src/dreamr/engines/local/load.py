"""Loading a model folder or hub id: every way to fail is one clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
)

from dreamr.engines.local.model import LocalModel
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.prompt import Prompter
from dreamr.errors import DreamrError, ModelNotFound


class Loaded:
    """A model with its prompter and the tokens that end its turns."""

    def __init__(self, model: LocalModel, prompter: Prompter, ends: frozenset[int]) -> None:
        self.model, self.prompter, self.ends = model, prompter, ends


def resolve(name: str) -> str:
    """The model's folder; a hub id is downloaded first.

    Raises:
        ModelNotFound: the hub does not have it, or cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(
            name, allow_patterns=["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]
        )
    except Exception as error:
        raise ModelNotFound(
            f"{name} is neither a folder here nor a model that the hub gave: {one_line(error)}"
        ) from error


def load(folder: str, options: LocalOptions) -> Loaded:
    """Load everything from a resolved folder.

    Raises:
        ModelNotFound: with one line that says what is wrong.
    """
    quiet()
    try:
        return _load(folder, options)
    except DreamrError:
        raise
    except Exception as error:
        raise ModelNotFound(f"cannot load the model in {folder}: {one_line(error)}") from error


def quiet() -> None:
    """A worker has no terminal to talk to."""
    logging: Any = transformers.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def one_line(error: BaseException) -> str:
    """The first line of what an error says, or its name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _load(folder: str, options: LocalOptions) -> Loaded:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    sees = takes_images(config)
    kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    processors: Any = AutoImageProcessor
    hf, found = kind.from_pretrained(
        folder,
        config=config,
        dtype=options.torch_dtype,
        attn_implementation="sdpa",
        output_loading_info=True,
        local_files_only=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise ModelNotFound(f"{folder} lacks {len(missing)} weights, the first is {missing[0]}")
    hf = hf.to(torch.device(options.device)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    images = processors.from_pretrained(folder, local_files_only=True) if sees else None
    model = LocalModel(hf, images, decoder=options.decoder)
    return Loaded(model, _prompter(folder, tokenizer, model), _ends(hf, tokenizer))


def takes_images(config: Any) -> bool:
    """Whether a configuration is that of a model which takes pictures beside text."""
    mapping = AutoModelForImageTextToText._model_mapping
    return hasattr(config, "vision_config") and type(config) in mapping


def _prompter(folder: str, tokenizer: Any, model: LocalModel) -> Prompter:
    template = tokenizer.chat_template or _processor_template(folder)
    if not isinstance(template, str):
        raise ModelNotFound(f"{folder} has no chat template: add a chat_template.jinja")
    token = tokenizer.convert_ids_to_tokens(model.image_token) if model.takes_images else ""
    return Prompter(tokenizer, template, images=model.takes_images, image_token=str(token))


def _processor_template(folder: str) -> str | None:
    """Processors of older checkpoints keep the template in a file of their own."""
    file = Path(folder) / "chat_template.json"
    if not file.is_file():
        return None
    template = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
    return template if isinstance(template, str) else None


def _ends(hf: Any, tokenizer: Any) -> frozenset[int]:
    """What ends a turn; transformers' generate stops at the same."""
    listed = hf.generation_config.eos_token_id
    if listed is None:
        listed = tokenizer.eos_token_id
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(i for i in ids if i is not None)
