"""Images, pages, frames and sounds of the problems of a bench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dreamr.evaluation.bench import MEDIA, Sample


def attached(samples: Iterable[Sample]) -> dict[str, dict[str, int]]:
    """Return for each task the number of images, pages, frames and sounds of all its problems."""
    return {
        task: {kind: sum(counts) for kind, counts in _by_kind(problems).items() if any(counts)}
        for task, problems in _by_task(samples).items()
    }


def described(samples: Iterable[Sample]) -> dict[str, str]:
    """Return for each task what a problem has, such as "1 image" or "2 to 8 pages, 1 sound"."""
    return {
        task: ", ".join(
            _range(kind, counts) for kind, counts in _by_kind(problems).items() if any(counts)
        )
        for task, problems in _by_task(samples).items()
    }


def _by_task(samples: Iterable[Sample]) -> dict[str, list[Mapping[str, int]]]:
    """Return what each problem of each task has; methods share their problems."""
    found: dict[str, dict[int, Mapping[str, int]]] = {}
    for sample in samples:
        found.setdefault(sample.task, {})[sample.index] = sample.attachments
    return {task: list(problems.values()) for task, problems in sorted(found.items())}


def _by_kind(problems: Sequence[Mapping[str, int]]) -> dict[str, list[int]]:
    return {kind: [problem.get(kind, 0) for problem in problems] for kind in MEDIA}


def _range(kind: str, counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    number = f"{most}" if least == most else f"{least} to {most}"
    return f"{number} {kind.removesuffix('s') if most == 1 else kind}"
