"""Recordings of runs: which problems are run, and with which method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from dreamr import Conversation, RunOptions
from dreamr.engines import Capabilities, Model, ModelSource, OpenModel, ScriptedEngine
from dreamr.errors import RunFailed
from dreamr.evaluation.tasks import Item, Items, load
from dreamr.training import Problems, Record, Records
from dreamr.training.recording import record

OWN = "Needed: this.\n\nSo it is.\n\nAnswer: 1"


def recorded(out: Path, problems: Problems, open_model: OpenModel, most: int = 8) -> list[Record]:
    async def work() -> None:
        with anyio.fail_after(60):
            await record(problems, out, RunOptions(), most=most, open_model=open_model)

    anyio.run(work)
    return list(Records([out]))


async def with_a_slow_draft(source: ModelSource) -> Model:
    seconds = 0.002 if source.role == "draft" else 0.0
    return Model(ScriptedEngine(script=OWN, name=source.role, token_seconds=seconds))


def test_concurrent_runs_are_of_the_recorded_method(tmp_path: Path) -> None:
    problems = Problems({"vqa": load("vqa", limit=32, split="train")})
    found = recorded(tmp_path / "records.jsonl", problems, with_a_slow_draft)
    assert [one.method for one in found] == ["fpsr"] * 32
    assert recorded(tmp_path / "records.jsonl", problems, with_a_slow_draft) == found


async def reading_two_images(source: ModelSource) -> Model:
    return Model(ScriptedEngine(script=OWN, capabilities=Capabilities(max_images=2)))


def with_images(counts: Sequence[int]) -> Problems:
    """Return problems with these numbers of images."""
    first = load("vqa", limit=1, split="train")[0]
    question, image = first.conversation.text, first.conversation.images[0]

    def make(index: int) -> Item:
        asked = Conversation.from_prompt(question, *[image] * counts[index])
        return replace(first, index=index, conversation=asked)

    return Problems({"vqa": Items(range(len(counts)), make)})


def test_a_problem_that_cannot_be_run_is_named_after_the_others_are_recorded(
    tmp_path: Path,
) -> None:
    out = tmp_path / "records.jsonl"
    reason = r"^vqa 1: the target scripted cannot answer .*; the other problems are recorded$"
    for _ in range(2):
        with pytest.raises(RunFailed, match=reason):
            recorded(out, with_images((1, 3, 1)), reading_two_images)
        assert [one.name for one in Records([out])] == ["vqa/0", "vqa/2"]


def test_a_recording_ends_after_five_failed_problems_in_a_row(tmp_path: Path) -> None:
    out = tmp_path / "records.jsonl"
    with pytest.raises(RunFailed, match=r"^vqa 5: .*; 5 problems in a row failed, those before"):
        recorded(out, with_images((1, *[3] * 9)), reading_two_images, most=1)
    assert [one.name for one in Records([out])] == ["vqa/0"]
