"""Loading of models from folders or Hugging Face IDs. Every failure is a one-line error."""

from __future__ import annotations

import os
from dataclasses import replace
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

from dreamr._files import read_json
from dreamr._messages import first_line, short_path
from dreamr.conversation import Conversation
from dreamr.engines.local.bounds import OverBound
from dreamr.engines.local.cpu.matmul import has_bfloat16
from dreamr.engines.local.folder import check_weights
from dreamr.engines.local.model import LocalModel
from dreamr.engines.local.options import LocalOptions
from dreamr.engines.local.prompt import Prompter
from dreamr.errors import DreamrError, EngineError, ModelNotFound, Unsupported

_FILES = ["*.json", "*.jinja", "*.safetensors", "*.model", "*.txt"]  # of a model on the hub
# Code in a model's folder is never run, and nothing is asked on the terminal.
SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_MOST_TEMPLATE = 2**20  # characters
# Bytes of weight files from which a model in bfloat16 is kept in it as a whole, which needs less
# memory. A single row then takes less time too, since it reads half of the bytes.
_LARGE = 2**30


class Loaded:
    """A loaded model.

    Attributes:
        model: The model.
        prompter: Renders its prompts.
        ends: Ids of the tokens that end a turn.
        constraints: Keeps answers in their formats.
    """

    def __init__(self, model: LocalModel, prompter: Prompter, ends: frozenset[int]) -> None:
        self.model, self.prompter, self.ends = model, prompter, ends
        self.constraints = prompter.constraints(ends)


def resolve(name: str, revision: str | None = None) -> str:
    """Return the folder of a model; download it first if the name is a Hugging Face ID.

    Args:
        name: Folder or Hugging Face ID.
        revision: Branch, tag or commit on the hub; None for the default branch.

    Raises:
        ModelNotFound: If the hub does not have the model or cannot be reached, or the model has no
            usable weights.
    """
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return path
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=_FILES)
    except Exception as error:
        shown = short_path(name) if revision is None else f"{short_path(name)} at {revision}"
        raise ModelNotFound(
            f"{shown} is not a local folder, and the Hugging Face hub does not provide it: "
            f"{first_line(error)}"
        ) from error
    check_weights(Path(folder), short_path(name))
    return folder


def load(folder: str, options: LocalOptions) -> Loaded:
    """Load model, tokenizer and image processor from a folder.

    Raises:
        ModelNotFound: If a part is missing or cannot be loaded.
        Unsupported: If bfloat16 is asked of a processor that lacks it.
    """
    quiet()
    try:
        return _load(folder, options)
    except DreamrError:
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ModelNotFound(
                f"the model in {folder} needs Python code of its own, which is never run: use a "
                "model that transformers supports, or serve it and give the URL"
            ) from error
        raise ModelNotFound(f"cannot load the model in {folder}: {first_line(error)}") from error


def quiet() -> None:
    """Silence the log messages and progress bars of transformers."""
    logging: Any = transformers.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _load(folder: str, options: LocalOptions) -> Loaded:
    if options.torch_dtype == "float32" and options.cpu_dtype == "bfloat16":
        _check_bfloat16()
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        if size >= _LARGE:
            options = replace(options, decoder="torch")
    config = AutoConfig.from_pretrained(folder, **SAFE)
    sees = takes_images(config)
    kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    processors: Any = AutoImageProcessor
    hf, found = kind.from_pretrained(
        folder,
        config=config,
        dtype=options.torch_dtype,
        attn_implementation="sdpa",
        output_loading_info=True,
        use_safetensors=True,
        **SAFE,
    )
    if missing := sorted(found["missing_keys"]):
        raise ModelNotFound(
            f"the model in {folder} is incomplete: {len(missing)} missing weights, "
            f"first {missing[0]}"
        )
    hf = hf.to(torch.device(options.device)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, **SAFE)
    images = processors.from_pretrained(folder, **SAFE) if sees else None
    model = LocalModel(hf, images, decoder=options.decoder, dtype=options.cpu_dtype)
    if options.device == "cpu" and (options.cpu_dtype, model.dtype) == ("bfloat16", "float32"):
        model = LocalModel(hf.to(torch.bfloat16), images, decoder="torch")
    return Loaded(model, _prompter(folder, tokenizer, model), _ends(hf, tokenizer))


def _check_bfloat16() -> None:
    if not has_bfloat16():
        raise Unsupported(
            "this processor has no instructions for bfloat16: use --dtype auto or float32"
        )


def takes_images(config: Any) -> bool:
    """Return whether a configuration is that of a model that accepts images and text."""
    mapping = AutoModelForImageTextToText._model_mapping
    return hasattr(config, "vision_config") and type(config) in mapping


def _prompter(folder: str, tokenizer: Any, model: LocalModel) -> Prompter:
    template = tokenizer.chat_template or _processor_template(folder)
    if not isinstance(template, str):
        raise ModelNotFound(f"{folder} has no chat template: add a chat_template.jinja")
    if len(template) > _MOST_TEMPLATE:
        raise ModelNotFound(
            f"the chat template of {folder} has more than {_MOST_TEMPLATE:,} characters: use "
            "another model"
        )
    token = tokenizer.convert_ids_to_tokens(model.image_token) if model.takes_images else ""
    prompter = Prompter(tokenizer, template, images=model.takes_images, image_token=str(token))
    try:
        prompter.opening(Conversation.from_prompt("-"))
    except OverBound as error:
        raise ModelNotFound(f"cannot use the model in {folder}: {error}") from error
    except EngineError:  # a template may refuse this conversation and accept others
        return prompter
    return prompter


def _processor_template(folder: str) -> str | None:
    """Read the chat template from the separate file that older checkpoints use."""
    file = Path(folder) / "chat_template.json"
    if not file.is_file():
        return None
    template = read_json(file, "chat template", ModelNotFound).get("chat_template")
    return template if isinstance(template, str) else None


def _ends(hf: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a turn, the same at which transformers' `generate` stops."""
    listed = hf.generation_config.eos_token_id
    if listed is None:
        listed = tokenizer.eos_token_id
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(i for i in ids if i is not None)
