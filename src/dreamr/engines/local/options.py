"""How a local model is run, and what its folder says about itself. No torch in here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from dreamr.engines.prompts import Questions
from dreamr.errors import ModelNotFound
from dreamr.gate import Labels

HINTS_FILE = "dreamr.json"

DecoderKind: TypeAlias = Literal["auto", "torch"]


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How to run one model in its worker process.

    device: a torch device, 'cpu' or 'cuda:1'. dtype: a torch dtype's name, or 'auto' for the
    checkpoint's own; None means float32 on a CPU and 'auto' elsewhere. threads: torch threads of
    the worker on a CPU; two models with more threads than cores together slow each other down
    many times over. cache_bytes: bound on the memory for keys, values and picture features of all
    conversations; those in use are never dropped. judge_prompt: overrides what the model's folder
    says. labels: the verdict words. ahead: how many tokens a stream may be ahead of its consumer.
    gather: seconds; tokens that come within them are sent together, at most to the end of a line.
    prefill: the most tokens one forward pass takes of a prompt. decoder: "auto" decodes in
    NumPy where the model is known to that and checked to give the same, and in torch everywhere
    else; "torch" always in torch.
    """

    device: str = "cpu"
    dtype: str | None = None
    threads: int = 1
    cache_bytes: int = 512 * 2**20
    judge_prompt: str | None = None
    labels: Labels = field(default_factory=Labels)
    ahead: int = 16
    gather: float = 0.002
    prefill: int = 512
    decoder: DecoderKind = "auto"

    def __post_init__(self) -> None:
        for name in ("threads", "cache_bytes", "ahead", "prefill"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.decoder not in get_args(DecoderKind):
            raise ValueError(f"decoder must be one of {', '.join(get_args(DecoderKind))}")

    @property
    def torch_dtype(self) -> str:
        """The dtype to load, as a name that transformers takes."""
        return self.dtype or ("float32" if self.device == "cpu" else "auto")


@dataclass(frozen=True, slots=True)
class Hints:
    """What a model's folder says about how to use it (its optional `dreamr.json`).

    judge_prompt, score_prompt, same_prompt: what it was trained to answer about a step.
    delimiter: what ends its steps. answer_marker: what stands before its answer. max_step_tokens:
    no step of it is longer. None where the folder is silent.
    """

    judge_prompt: str | None = None
    score_prompt: str | None = None
    same_prompt: str | None = None
    delimiter: str | None = None
    answer_marker: str | None = None
    max_step_tokens: int | None = None

    def questions(self, verdict: str | None = None) -> Questions:
        """What to ask; `verdict` where the caller wants another question for that."""
        usual = Questions()
        return Questions(
            verdict or self.judge_prompt or usual.verdict,
            self.score_prompt or usual.score,
            self.same_prompt or usual.same,
        )


_KINDS = {"max_step_tokens": int}


def read_hints(folder: Path) -> Hints:
    """The hints of a model folder; unknown keys are left alone.

    Raises:
        ModelNotFound: the file is there but unusable.
    """
    try:
        text = (folder / HINTS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Hints()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelNotFound(f"cannot read {folder / HINTS_FILE}: {error}") from error
    try:
        return _hints(json.loads(text))
    except ValueError as error:
        raise ModelNotFound(f"{folder / HINTS_FILE} is not usable: {error}") from error


def _hints(raw: Any) -> Hints:
    if not isinstance(raw, dict):
        raise ValueError("it must hold a JSON object")
    known = {item.name: raw[item.name] for item in fields(Hints) if raw.get(item.name) is not None}
    for name, value in known.items():
        kind = _KINDS.get(name, str)
        if type(value) is not kind or not value:
            raise ValueError(f"{name} must be a non-empty {kind.__name__}")
    return Hints(**known)
