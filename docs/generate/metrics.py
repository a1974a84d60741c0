"""Generate docs/reference/metrics.md from the metrics that the gateway declares.

`scripts/docs` runs it; `tests/test_reference_pages.py` checks that the page is current.
"""

from __future__ import annotations

from typing import get_args

from dreamr.schedules import STAGES
from dreamr.serving.drift import OUTCOMES
from dreamr.serving.gateway import metrics

_HEAD = (
    "`GET /metrics` of the gateway returns these metrics in the text format of Prometheus. "
    "Names follow vLLM where vLLM has the same metric, with the prefix `dreamr:` instead of "
    "`vllm:`. [Monitor](../guides/deployment.md#monitor) shows how to collect them and which "
    "alerts to set.",
    "This page is generated from `src/dreamr/serving/gateway/metrics.py` by `scripts/docs`. "
    "Do not edit it.",
)
_NOTES = (
    "`dreamr:prompt_tokens_total` counts prompts of requests that report usage: those that do not "
    "stream, and those with `include_usage`.",
    "`dreamr:speculation_speedup` is NaN until a run has measured it. `dreamr:gate_threshold` is "
    "NaN without audits, or if the gate has no threshold.",
    "`dreamr:runs_total` shows what `--tune` chooses.",
    "Each gateway process has its own registry. Sum over instances.",
)
_VALUES = {
    "model_name": "served name of the pair, also if a request names one of its models",
    "role": "`target` or `draft`",
    "finished_reason": "`stop`, or `length` if a limit ended the run",
    "status": "HTTP status; `499` if the client disconnected first",
    "fate": "`accepted`, `unverified` (accepted without the target), `rejected`, "
    "`target` (written by the target)",
    "stage": ", ".join(f"`{stage}`" for stage in STAGES),
    "outcome": ", ".join(f"`{outcome}`" for outcome in OUTCOMES),
    "kind": ", ".join(f"`{kind}`" for kind in get_args(metrics.Resumption)),
    "window": "`--window` of the run",
    "fallback": "`--fallback` of the run",
    "resamples": "`--resamples` of the run",
}


def metrics_page() -> str:
    """Return the page as Markdown."""
    counters = [(f"{one.name}_total", one.labels, one.help) for one in metrics._COUNTERS]
    gauges = [(one.name, one.labels, one.help) for one in metrics._GAUGES]
    labeled = (*metrics._GAUGES, *metrics._COUNTERS)
    labels = {name: _VALUES[name] for one in labeled for name in one.labels}
    parts = [
        "# Metrics",
        *_HEAD,
        "## Gauges",
        _table(
            ("metric", "labels", "meaning"),
            [(_name(name), ", ".join(map(_code, of)), text) for name, of, text in gauges],
        ),
        "## Counters",
        _table(
            ("metric", "labels", "meaning"),
            [(_name(name), ", ".join(map(_code, of)), text) for name, of, text in counters],
        ),
        "## Histograms",
        "Each has the label `model_name`, and the series `_bucket`, `_sum` and `_count`. Values "
        "are in seconds.",
        _table(
            ("metric", "meaning", "upper bounds of the buckets"),
            [
                (_name(one.name), one.help, ", ".join(f"{bound:g}" for bound in one.buckets))
                for one in metrics._HISTOGRAMS
            ],
        ),
        "## Labels",
        _table(("label", "values"), [(_code(name), values) for name, values in labels.items()]),
        "## Notes",
        "\n".join(f"- {note}" for note in _NOTES),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _name(name: str) -> str:
    return _code(f"dreamr:{name}")


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    print(metrics_page(), end="")
