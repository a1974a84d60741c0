"""Options of a local model, and the hints in its folder. Does not import torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from dreamr._cuda_order import CUDA_ORDER
from dreamr._files import read_bytes
from dreamr._messages import reason
from dreamr.conversation import Conversation
from dreamr.engines.prompts import Questions
from dreamr.engines.protocol import DType
from dreamr.errors import ModelNotFound, Unsupported
from dreamr.gate import Labels

_SMALL = 64 * 2**20  # bytes of weights below which a model stays on the CPU
HINTS_FILE = "dreamr.json"
NO_SOUND = "local models take text and images, not sound"
NO_VIDEO = "local models take frames of a video, not its file"

DecoderKind: TypeAlias = Literal["auto", "torch"]


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Options of one model in its worker process.

    Attributes:
        device: Torch device, such as 'cpu' or 'cuda:1'; 'auto' is decided by `placed`.
        revision: Branch, tag or commit of a model on the Hugging Face hub. None: the default
            branch.
        dtype: 'float32' or 'bfloat16'. On a CPU, 'bfloat16' means that passes of many rows multiply
            in it where the NumPy decoder runs the model, with weights in float32; other models are
            loaded in bfloat16. 'auto': on a CPU, passes of many rows multiply in the faster type;
            elsewhere, that of the checkpoint. None: float32 on a CPU, 'auto' elsewhere.
        deterministic: Whether rounding must not depend on which rows share a pass. A CPU then
            computes in float32, whatever `dtype` is.
        threads: Torch threads of the worker on a CPU. Models that together have more threads than
            there are cores slow each other down many times over.
        cache_bytes: Limit on the memory for keys, values and image features of all conversations.
            Entries in use are never dropped.
        judge_prompt: Question about a drafted step. Overrides the hint in the model's folder.
        labels: Words of the verdict.
        ahead: How many tokens a stream may be ahead of its consumer.
        gather: Seconds during which tokens are collected before they are sent, at most up to the
            end of a line.
        prefill: Largest number of prompt tokens of one forward pass.
        untrained: Whether conversations may have more images than the model was trained for.
        decoder: 'auto' decodes in NumPy if it supports the model and has been checked to give the
            same results, else in torch; 'torch' always decodes in torch.

    Raises:
        ValueError: If a number is below 1, or the decoder or dtype is unknown.
    """

    device: str = "cpu"
    revision: str | None = None
    dtype: DType | None = None
    deterministic: bool = False
    threads: int = 1
    cache_bytes: int = 512 * 2**20
    judge_prompt: str | None = None
    labels: Labels = field(default_factory=Labels)
    ahead: int = 16
    gather: float = 0.002
    prefill: int = 512
    untrained: bool = False
    decoder: DecoderKind = "auto"

    def __post_init__(self) -> None:
        for name in ("threads", "cache_bytes", "ahead", "prefill"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.decoder not in get_args(DecoderKind):
            known = ", ".join(get_args(DecoderKind))
            raise ValueError(f"decoder must be one of {known}, not {self.decoder!r}")
        if self.dtype not in (None, *get_args(DType)):
            known = ", ".join(get_args(DType))
            raise ValueError(f"dtype must be one of {known}, not {self.dtype!r}")

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables that torch reads before it uses a device that has a number."""
        return CUDA_ORDER if re.fullmatch(r"cuda:\d+", self.device) else {}

    @property
    def torch_dtype(self) -> str:
        """Name of the dtype to load, as transformers takes it."""
        if self.device != "cpu":
            return self.dtype or "auto"
        whole = self.cpu_dtype == "bfloat16" and self.decoder == "torch"
        return "bfloat16" if whole else "float32"

    @property
    def cpu_dtype(self) -> DType:
        """Type in which passes of many rows multiply on a CPU."""
        return "float32" if self.deterministic else self.dtype or "float32"


def placed(options: LocalOptions, *, cuda: bool, weights: int) -> LocalOptions:
    """Return the options with the device that 'auto' stands for, and the dtype on CUDA.

    CUDA in bfloat16 where there is a device, else the CPU, whose dtype is decided when the model is
    loaded. Small models stay on the CPU: a pass of some kernels takes longer to start on CUDA than
    the whole pass takes there.

    Args:
        options: The options.
        cuda: Whether there is a CUDA device.
        weights: Bytes of the model's weights.
    """
    if options.device != "auto":
        return options
    if cuda and weights >= _SMALL:
        dtype: DType = "float32" if options.dtype == "float32" else "bfloat16"
        return replace(options, device="cuda", dtype=dtype)
    return replace(options, device="cpu")


@dataclass(frozen=True, slots=True)
class Hints:
    """Hints of a model's folder on how to use the model: the optional file `dreamr.json`.

    A hint that the file lacks is None.

    Attributes:
        judge_prompt: Question about a step that the model was trained to answer.
        score_prompt: Like `judge_prompt`, for a rating from 0 to 9.
        same_prompt: Like `judge_prompt`, for whether two steps mean the same.
        delimiter: Text at the end of each step.
        answer_marker: Text in front of the final answer.
        max_step_tokens: Largest number of tokens of a step.
        max_images: Most images of a prompt that the model was trained for.
        trained_tasks: Tasks that the model was trained on, and their levels.
    """

    judge_prompt: str | None = None
    score_prompt: str | None = None
    same_prompt: str | None = None
    delimiter: str | None = None
    answer_marker: str | None = None
    max_step_tokens: int | None = None
    max_images: int | None = None
    trained_tasks: Mapping[str, tuple[int, ...]] | None = None

    def check_images(self, conversation: Conversation) -> None:
        """Check the number of images: with more, an answer looks like any other and is wrong.

        Raises:
            Unsupported: If a conversation has more images than the model was trained for.
        """
        images, most = len(conversation.images), self.max_images
        if most is not None and images > most:
            raise Unsupported(
                f"the model reads {most} image{'s' * (most != 1)} in a conversation, not {images}: "
                "attach less, use another model, or set --untrained"
            )

    def questions(self, verdict: str | None = None) -> Questions:
        """Return the questions to ask; `verdict` replaces the question about a step."""
        usual = Questions()
        return Questions(
            verdict or self.judge_prompt or usual.verdict,
            self.score_prompt or usual.score,
            self.same_prompt or usual.same,
        )


_KINDS = {"max_step_tokens": int, "max_images": int, "trained_tasks": dict}
_EXPECTED = {str: "a text", int: "a number", dict: "an object with lists of levels by task"}


def read_hints(folder: Path) -> Hints:
    """Read the hints of a model folder; unknown keys are ignored.

    Raises:
        ModelNotFound: If the file exists but cannot be used.
    """
    try:
        text = read_bytes(folder / HINTS_FILE).decode("utf-8-sig")
    except FileNotFoundError:
        return Hints()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelNotFound(f"cannot read {folder / HINTS_FILE}: {reason(error)}") from error
    try:
        return _hints(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ModelNotFound(f"cannot use {folder / HINTS_FILE}: {reason(error)}") from error


def _hints(raw: Any) -> Hints:
    if not isinstance(raw, dict):
        raise ValueError("it must contain a JSON object")
    known = {item.name: raw[item.name] for item in fields(Hints) if raw.get(item.name) is not None}
    for name, value in known.items():
        kind = _KINDS.get(name, str)
        fits = _are_levels(value) if kind is dict else type(value) is kind
        if not fits or not value:
            raise ValueError(f"{name} must be {_EXPECTED[kind]}, and not empty")
    if tasks := known.get("trained_tasks"):
        known["trained_tasks"] = {name: tuple(levels) for name, levels in tasks.items()}
    return Hints(**known)


def _are_levels(tasks: Any) -> bool:
    return isinstance(tasks, dict) and all(
        isinstance(levels, list) and levels and all(type(level) is int for level in levels)
        for levels in tasks.values()
    )
