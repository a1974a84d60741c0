"""Combinations of the options of a run in which some have no effect."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dreamr._load_options import DEADLINE_CONFLICTS, DEADLINE_RULES
from dreamr._option_specs import Conflict, Unused
from dreamr._sampling import chosen, is_set, may_sample
from dreamr.engines import is_served, model_names
from dreamr.schedules import GATED_METHODS, METHODS, method

_LABELED = ("ratio", "adaptive", "cascade", "draft-first", "two-questions")


def _local(name: str | None) -> bool:
    """Return whether a model is known to be local; a named one may be either."""
    return name is None or not (is_served(name) or name in model_names())


def _off_hub(name: str | None) -> bool:
    """Return whether a model is known not to be on the hub; a named one may be."""
    return name is None or is_served(name) or os.path.exists(os.path.expanduser(name))


def _reuses_nothing(o: Any) -> bool:
    ngram_only = o.method == "target"
    return o.method in ("draft", "prompt-lookup") or (ngram_only and o.token_reuse != "ngram")


def greedy(o: Any) -> bool:
    """Return whether runs with these options are known to draw nothing at random."""
    return not (may_sample(o) or o.resamples)


def _unused_by(o: Any, own: str) -> bool:
    """Return whether no local model follows an option: the target, and the draft without `own`."""
    roles = method(o.method).roles
    target = "target" in roles and not is_served(o.target)
    draft = "draft" in roles and not is_served(o.draft) and getattr(o, own, None) is None
    return not (target or draft)


def _threads_unused(o: Any) -> bool:
    return all(is_served(getattr(o, role)) for role in method(o.method).roles)


def _any_served(o: Any) -> bool:
    return any(is_served(getattr(o, role)) for role in method(o.method).roles)


def _max_pixels_unused(o: Any) -> bool:
    """Return whether no server has the limit: the target's, and the draft's without its own."""
    return not _served(o, "target") and not (_served(o, "draft") and o.draft_max_pixels is None)


def _served(o: Any, role: str) -> bool:
    """Return whether the method uses this model, and it may be at a server."""
    return role in method(o.method).roles and not _local(getattr(o, role))


def request_cases(values: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the options of all runs that requests to a gateway with these options can ask for.

    A request may choose a temperature and any method whose models are loaded.
    """
    loaded = set(method(values["method"]).roles)
    return [
        {**values, "method": name, "temperature": 1.0}
        for name in METHODS
        if loaded.issuperset(method(name).roles)
    ]


DRAFT_REVISION_RULE = Unused(
    ("draft_revision",), lambda o: _off_hub(o.draft), "unless --draft is a Hugging Face ID"
)

# For commands that open models.
MODEL_RULES = (
    Unused(
        ("target", "target_model", "revision"),
        lambda o: "target" not in method(o.method).roles,
        "with --method {method}",
    ),
    Unused(
        (
            "draft",
            "draft_model",
            "draft_revision",
            "draft_device",
            "draft_dtype",
            "draft_frames",
        ),
        lambda o: "draft" not in method(o.method).roles,
        "with --method {method}",
    ),
    Unused(("target_model",), lambda o: _local(o.target), "unless --target is a server URL"),
    Unused(("draft_model",), lambda o: _local(o.draft), "unless --draft is a server URL"),
    Unused(("revision",), lambda o: _off_hub(o.target), "unless --target is a Hugging Face ID"),
    DRAFT_REVISION_RULE,
    Unused(
        ("device",),
        lambda o: _unused_by(o, "draft_device"),
        "on models that are served or have another device",
    ),
    Unused(
        ("dtype",),
        lambda o: _unused_by(o, "draft_dtype"),
        "on models that are served or have another dtype",
    ),
    Unused(
        ("draft_device", "draft_dtype"),
        lambda o: is_served(o.draft),
        "if --draft is a server URL",
    ),
    Unused(
        ("thinking",), lambda o: not _any_served(o), "unless --target or --draft is a server URL"
    ),
    Unused(("threads",), _threads_unused, "on served models"),
    Unused(("untrained",), _threads_unused, "on served models"),
    Unused(("max_pixels",), _max_pixels_unused, "on local models, which shrink images themselves"),
    Unused(
        ("draft_max_pixels",), lambda o: not _served(o, "draft"), "unless --draft is a server URL"
    ),
    Unused(
        ("transcriber_model",),
        lambda o: not is_served(o.transcriber),
        "unless --transcriber is a server URL",
    ),
    Unused(("hotwords",), lambda o: o.transcriber is None, "without --transcriber"),
)

# For commands that take all options of a run.
RUN_RULES = (
    Unused(("score",), lambda o: o.method != "specreason", "without --method specreason"),
    Unused(("window",), lambda o: o.method not in ("fpsr", "lookahead"), "with --method {method}"),
    Unused(("max_steps",), lambda o: method(o.method).commits_pieces, "with --method {method}"),
    Unused(
        ("fallback", "resamples", "judge_batch", "load_aware"),
        lambda o: o.method != "fpsr",
        "with --method {method}",
    ),
    Unused(
        ("final_answer",),
        lambda o: o.method not in (*GATED_METHODS, "specreason"),
        "with --method {method}",
    ),
    Unused(
        (
            "gate",
            "threshold",
            "target_confidence",
            "draft_confidence",
            "profile",
            "judge_prompt",
        ),
        lambda o: o.method not in GATED_METHODS,
        "with --method {method}",
    ),
    Unused(
        ("gate", "threshold", "target_confidence"),
        lambda o: o.profile is not None,
        "with --profile",
    ),
    Unused(("target_confidence",), lambda o: o.gate != "cascade", "without --gate cascade"),
    Unused(
        ("target_confidence",),
        lambda o: is_served(o.target) and o.draft_confidence is not None,
        "with --draft-confidence if --target is a server URL",
    ),
    Unused(("token_reuse",), lambda o: is_served(o.target), "if --target is a server URL"),
    Unused(("threshold",), lambda o: o.gate == "word", "with --gate word"),
    Unused(
        ("min_label_mass",),
        lambda o: o.method not in (*GATED_METHODS, "lookahead"),
        "with --method {method}",
    ),
    Unused(
        ("min_label_mass",),
        lambda o: o.method != "lookahead" and (o.gate not in _LABELED or o.profile is not None),
        "without a gate that reads the verdict's labels",
    ),
    Unused(("token_reuse",), _reuses_nothing, "with --method {method}"),
    Unused(
        ("top_p", "top_k", "min_p"),
        lambda o: not (o.temperature or o.resamples),
        "without a --temperature above 0",
    ),
    Unused(("frames",), lambda o: o.fps is not None, "with --fps"),
    Unused(
        ("draft_frames",),
        lambda o: o.fps is None and o.draft_frames >= o.frames,
        "with --frames {frames}",
    ),
    Unused(
        ("model_defaults",),
        lambda o: not o.model_defaults and is_set(o),
        "if an option of sampling is set",
    ),
    *DEADLINE_RULES,
    *MODEL_RULES,
)

# Combinations of the options of a run that are refused.
RUN_CONFLICTS = (
    *DEADLINE_CONFLICTS,
    Conflict(
        lambda o: o.thinking_budget is not None and o.thinking_budget >= o.max_tokens,
        "--thinking-budget must be smaller than --max-tokens, which holds the answer too",
    ),
    Conflict(
        lambda o: o.method == "token-sd" and (o.temperature or 0) > 0,
        "token-sd is greedy: leave --temperature at 0",
    ),
    Conflict(
        lambda o: o.method == "token-sd" and chosen(o).adjusts,
        "token-sd compares the models' own choices: leave out penalties and --logit-bias",
    ),
    Conflict(
        lambda o: o.resamples and o.deterministic,
        "resamples depend on timing: leave out --resamples or --deterministic",
    ),
    Conflict(
        lambda o: o.draft_confidence is not None and o.profile is not None,
        "a profile has its own gate: leave out --draft-confidence or --profile",
    ),
    Conflict(
        lambda o: o.draft_confidence is not None and o.gate not in ("cascade", "draft-first"),
        "--draft-confidence needs --gate cascade or draft-first: add it, or leave out "
        "--draft-confidence",
    ),
)
