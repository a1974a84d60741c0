from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from dreamr_testbed import RECEIPT

from dreamr import Conversation, RunOptions, read_image
from dreamr.engines import Failure
from dreamr.errors import EngineLost, RunFailed
from dreamr.evaluation.tasks import load
from dreamr.gate import Evidence, Verdict
from dreamr.runner import run
from dreamr.steps import Ending, Step
from dreamr.trace import Result, StepRejected, Usage
from dreamr.training import BadTraining, Problems, Record, Records, repair, to_line
from dreamr.training.recording import record
from dreamr.training.records import Preference, Recorded, Rejected, record_of
from support.pairs import RIGHT, WRONG, Pair

IMAGE = read_image(RECEIPT)


def problems(count: int = 3) -> Problems:
    return Problems({"docmath": load("docmath", limit=count, split="train")})


def records_of(out: Path, pair: Pair, method: Any = "sequential") -> list[Record]:
    chosen = RunOptions(method=method)

    async def work() -> None:
        await record(problems(), out, chosen, open_model=pair)

    anyio.run(work)
    return list(Records([out]))


def test_a_record_is_a_line_that_holds_everything(tmp_path: Path) -> None:
    one = Record(
        "vqa/1",
        "fpsr",
        Conversation.from_prompt("What is\u2028it?", IMAGE),
        (Recorded("One.\n\n", "draft"), Recorded("Answer: 1", "target")),
        (Rejected(1, "Answer: 2"),),
        True,
        False,
    )
    file = tmp_path / "records.jsonl"
    file.write_text(to_line(one) + "\n" + to_line(one) + "\n", encoding="utf-8")
    assert list(Records([file])) == [one, one]
    assert Records([file])[1:] == [one]
    assert one.text == "One.\n\nAnswer: 1"


def test_what_the_target_wrote_instead_is_preferred(pair: Pair) -> None:
    conversation = Conversation.from_prompt("What do they cost?")

    async def work() -> Record:
        options = RunOptions(method="sequential")
        engines = {role: (await pair(options.source(role))).engine for role in options.roles}
        result = await run(
            conversation,
            target=engines["target"],
            draft=engines["draft"],
            config=options.run_config(),
        )
        return record_of("mine", conversation, result)

    one = anyio.run(work)
    assert one.text == "".join(RIGHT)
    assert list(one.preferences()) == [Preference(RIGHT[0], RIGHT[1], WRONG)]
    assert one.right is None


def test_a_step_that_the_target_wrote_alike_is_no_preference() -> None:
    one = Record(
        "x",
        "fpsr",
        Conversation.from_prompt("?"),
        (Recorded("Tea costs 2.\n\n", "target"), Recorded("End", "draft")),
        (Rejected(0, "Tea costs 2."), Rejected(1, "other"), Rejected(7, "beyond")),
        True,
    )
    assert list(one.preferences()) == []


def test_recording_keeps_each_problem_once_and_goes_on(tmp_path: Path, pair: Pair) -> None:
    out = tmp_path / "records.jsonl"
    first = records_of(out, pair)
    assert {one.name for one in first} == {f"docmath/{n}" for n in (50_000, 50_001, 50_002)}
    assert all(one.right is False and one.complete for one in first)
    text = out.read_text()
    out.write_text(text[: text.rfind("\n", 0, -1) + 9])  # a kill in the last line
    again = records_of(out, Pair())
    assert {one.name for one in again} == {one.name for one in first}
    assert len(again) == len(first)
    idle = Pair()
    records_of(out, idle)
    assert not idle.opened


def test_records_of_another_method_are_not_mixed_in(tmp_path: Path, pair: Pair) -> None:
    out = tmp_path / "records.jsonl"
    records_of(out, pair)
    with pytest.raises(BadTraining, match="of method sequential: name another"):
        records_of(out, pair, "target")


@pytest.mark.parametrize(
    ("evidence", "ending"), [(None, Ending.DELIMITER), (Evidence(0.1, 0.9), Ending.CAP)]
)
def test_only_what_the_target_itself_refused_counts(
    evidence: Evidence | None, ending: Ending
) -> None:
    def result(verdict: Verdict, end: Ending) -> Result:
        refused = StepRejected(0.0, 0, Step("Milk.\n\n", 2, end), verdict)
        return Result("1", (), Usage(), 1.0, "answer", events=(refused,))

    talk = Conversation.from_prompt("?")
    good = Verdict(False, 0.1, 0.7, "below", Evidence(0.1, 0.9), kind="ratio")
    assert record_of("x", talk, result(good, Ending.DELIMITER)).rejected
    bad = Verdict(False, 0.0, 0.7, "no judge", evidence, kind="none")
    assert not record_of("x", talk, result(bad, ending)).rejected


def test_a_broken_last_line_is_cut_before_more_is_added(tmp_path: Path) -> None:
    (file := tmp_path / "records.jsonl").write_text("whole\nbroke")
    repair(file)
    assert file.read_text() == "whole\n"
    repair(tmp_path / "none")


def test_a_lost_target_ends_the_recording_with_its_error(tmp_path: Path) -> None:
    failing = Pair(target={"judge_failures": {0: Failure(EngineLost("unplugged"))}})
    with pytest.raises(RunFailed, match="unplugged"):
        records_of(tmp_path / "records.jsonl", failing)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}\n", "line 1 is no record"), ('{"version": 7}\n', "version 7, and this is 1")],
)
def test_a_file_of_something_else_is_told(tmp_path: Path, text: str, message: str) -> None:
    (file := tmp_path / "other.jsonl").write_text(text)
    with pytest.raises(BadTraining, match=message):
        list(Records([file]))
    with pytest.raises(BadTraining, match="cannot read"):
        Records([tmp_path / "none.jsonl"])
