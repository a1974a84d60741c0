from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from dreamr_testbed import RECEIPT
from trl.data_utils import prepare_multimodal_messages

from dreamr import Conversation, RunOptions, read_image
from dreamr.conversation import Text, Turn, as_file
from dreamr.engines import Failure, Model, ModelSource, OpenModel
from dreamr.errors import EngineLost, RunFailed
from dreamr.evaluation.tasks import Item, Items, load
from dreamr.gate import Evidence, Verdict
from dreamr.runner import run
from dreamr.steps import Ending, Step
from dreamr.trace import Result, SpeechTranscribed, StepRejected, Usage
from dreamr.training import BadTraining, Problems, Record, Records, to_line
from dreamr.training import problems as problems_module
from dreamr.training.problems import row_of
from dreamr.training.recording import record
from dreamr.training.records import Preference, Recorded, Rejected, record_of
from support.attachments import document, kinds, sound, video
from support.pairs import RIGHT, WRONG, Pair

IMAGE = as_file(read_image(RECEIPT))  # as it is read again


def problems(count: int = 3) -> Problems:
    return Problems({"docmath": load("docmath", limit=count, split="train")})


def records_of(
    out: Path, pair: OpenModel, method: Any = "sequential", target: Path | None = None
) -> list[Record]:
    chosen = RunOptions(method=method, target=None if target is None else str(target))

    async def work() -> None:
        await record(problems(), out, chosen, open_model=pair)

    anyio.run(work)
    return list(Records([out]))


def test_a_record_survives_a_round_trip_through_its_line(tmp_path: Path) -> None:
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


def test_the_targets_replacement_of_a_rejected_step_is_preferred(pair: Pair) -> None:
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


def spoken(*transcripts: str) -> Record:
    conversation = Conversation.from_prompt("", document(2), video(2, sound=sound()), sound(0.2))
    return Record(
        "x", "fpsr", conversation, (Recorded("Answer: 1", "target"),), (), True, None, transcripts
    )


@pytest.mark.parametrize("heard", [(), ("A tone.", "What is due?")])
def test_a_record_keeps_its_media_and_what_was_heard(
    tmp_path: Path, heard: tuple[str, ...]
) -> None:
    one = spoken(*heard)
    (file := tmp_path / "records.jsonl").write_text(f"{to_line(one)}\n")
    [read] = Records([file])
    assert read == one
    assert read.prompt.sounds == (() if heard else one.conversation.sounds)
    if heard:
        assert kinds(read.prompt) == ["Document", "Video", "Text", "Text"]
        assert read.prompt.text == "Speech in clip.mp4: A tone.\nWhat is due?"
        assert row_of(read.prompt, sees=True)["images"]


def test_transcripts_of_other_sounds_are_refused(tmp_path: Path) -> None:
    for damage in (["one"], [1, 2], "ab"):
        line = json.loads(to_line(spoken())) | {"transcripts": damage}
        (file := tmp_path / "records.jsonl").write_text(json.dumps(line) + "\n")
        with pytest.raises(BadTraining, match=r"line 1 is not a record: .*transcripts"):
            Records([file])[0]


def test_a_run_is_recorded_with_what_was_heard() -> None:
    events = (SpeechTranscribed(0.0, "question.wav", "What is due?"),)
    result = Result("1", (), Usage(), 1.0, "answer", None, events)
    asked = Conversation.from_prompt("", sound())
    assert record_of("x", asked, result).transcripts == ("What is due?",)
    assert record_of("x", asked, replace(result, events=())).transcripts == ()
    with pytest.raises(BadTraining, match="takes no sound"):
        row_of(asked, sees=True)


def test_an_image_stays_in_its_turn() -> None:
    image = read_image(RECEIPT)
    asked = Conversation(
        (
            Turn("user", (Text("Hello."),)),
            Turn("assistant", (Text("What is it?"),)),
            Turn("user", (image, Text("What is due?"))),
        )
    )
    row = row_of(asked, sees=True)
    filled = prepare_multimodal_messages(row["prompt"], row["images"])
    kinds_of = [[part["type"] for part in message["content"]] for message in filled]
    assert kinds_of == [["text"], ["text"], ["image", "text"]]
    plain = row_of(Conversation.from_prompt("Hello."), sees=True)["prompt"]
    assert plain == [{"role": "user", "content": "Hello."}]


def test_problems_that_are_kept_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(load("docmath", limit=1)[0].conversation.images[0].data)
    monkeypatch.setattr(problems_module, "_KEPT_BYTES", 2 * size + size // 2)
    made: list[int] = []

    def make(index: int) -> Item:
        made.append(index)
        return replace(load("docmath", limit=1)[0], index=index)

    three = Problems({"docmath": Items(range(3), make)})
    for number in (0, 1, 0, 2, 0, 1):
        assert three[number].index == number
    assert made == [0, 1, 2, 1]  # the one that was not read for longest is dropped


def test_the_same_text_is_not_a_preference() -> None:
    one = Record(
        "x",
        "fpsr",
        Conversation.from_prompt("?"),
        (Recorded("Tea costs 2.\n\n", "target"), Recorded("End", "draft")),
        (Rejected(0, "Tea costs 2."), Rejected(1, "other"), Rejected(7, "beyond")),
        True,
    )
    assert list(one.preferences()) == []


def test_recording_resumes_and_stores_each_problem_once(tmp_path: Path, pair: Pair) -> None:
    out = tmp_path / "records.jsonl"
    first = records_of(out, pair)
    assert {one.name for one in first} == {f"docmath/{n}" for n in (50_000, 50_001, 50_002)}
    assert all(one.right is False and one.complete for one in first)
    text = out.read_text()
    out.write_text(text[: text.rfind("\n", 0, -1) + 9])  # a process killed in the last line
    again = records_of(out, Pair())
    assert {one.name for one in again} == {one.name for one in first}
    assert len(again) == len(first)
    idle = Pair()
    records_of(out, idle)
    assert not idle.opened


def test_records_of_another_method_are_refused(tmp_path: Path, pair: Pair) -> None:
    out = tmp_path / "records.jsonl"
    records_of(out, pair)
    with pytest.raises(BadTraining, match="of method sequential: name another"):
        records_of(out, pair, "target")


def test_records_of_another_model_are_refused(tmp_path: Path, pair: Pair) -> None:
    out, model = tmp_path / "records.jsonl", tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"before")
    first = records_of(out, pair, target=model)
    assert records_of(out, pair, target=model) == first
    (model / "model.safetensors").write_bytes(b"retrained")
    with pytest.raises(BadTraining, match=r"records of another target \(.*: name another file"):
        records_of(out, pair, target=model)
    with pytest.raises(BadTraining, match="records of another target"):
        records_of(out, pair)
    assert list(Records([out])) == first


@pytest.mark.parametrize(
    ("evidence", "ending"), [(None, Ending.DELIMITER), (Evidence(0.1, 0.9), Ending.CAP)]
)
def test_only_steps_that_the_target_judged_count_as_rejected(
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
    own = Verdict(False, 0.1, 0.7, "the draft is sure", Evidence(0.1, 0.9), kind="draft_ratio")
    assert not record_of("x", talk, result(own, Ending.DELIMITER)).rejected


def test_a_dead_target_ends_the_recording_with_its_error(tmp_path: Path) -> None:
    failing = Pair(target={"judge_failures": {0: Failure(EngineLost("unplugged"))}})
    with pytest.raises(RunFailed, match="unplugged"):
        records_of(tmp_path / "records.jsonl", failing)


def test_a_target_that_is_lost_once_costs_no_record(tmp_path: Path) -> None:
    failing = Pair(target={"judge_failures": {0: Failure(EngineLost("unplugged"))}})

    async def open_one(source: ModelSource) -> Model:
        model = await failing(source)
        if source.role == "target":
            failing.target = {}
        return model

    lines = records_of(tmp_path / "records.jsonl", open_one)
    assert lines == records_of(tmp_path / "others.jsonl", Pair())


GOOD = Record(
    "vqa/1",
    "fpsr",
    Conversation.from_prompt("What is it?", IMAGE),
    (Recorded("One.\n\n", "draft"), Recorded("Answer: 1", "target")),
    (Rejected(1, "Answer: 2"),),
    True,
)


def changed(**values: Any) -> str:
    """A record with other values, as a line; a value of `...` removes the key."""
    record = {**json.loads(to_line(GOOD)), **values}
    return json.dumps({key: value for key, value in record.items() if value is not ...})


def turns(role: Any = "user", *parts: Any) -> list[Any]:
    return [{"role": role, "parts": list(parts)}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("version: 1", "not valid JSON"),
        ("", "not valid JSON"),
        (to_line(GOOD)[:200], "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1, 2]", r"\[1, 2\] instead of a JSON object"),
        ("{}", "'version' is missing"),
        (changed(version=7), "version 7 instead of 1"),
        (changed(models={"target": 3}), "'models' is .* instead of an object of texts"),
        (changed(version=True), "'version' is true, which has the wrong type"),
        (changed(steps=...), "'steps' is missing"),
        (changed(name=5), "'name' is 5, which has the wrong type"),
        (changed(name=["x" * 99]), r"""'name' is \["x{38}\.\.\., which has the wrong type"""),
        (changed(steps={}), "'steps' is {}, which has the wrong type"),
        (changed(steps=["One."]), '"One." instead of a JSON object'),
        (changed(steps=[{"text": "One."}]), "'source' is missing"),
        (
            changed(steps=[{"text": "One.", "source": "judge"}]),
            "'source' is \"judge\" instead of draft or target",
        ),
        (changed(rejected=[{"position": "0", "text": ""}]), "'position' is \"0\", which has"),
        (changed(complete=None), "'complete' is null, which has the wrong type"),
        (changed(right="yes"), "'right' is \"yes\", which has the wrong type"),
        (changed(turns=[]), "'turns' cannot be used, the last turn must be the user's"),
        (changed(turns=turns("robot")), "'role' is \"robot\" instead of system or user or"),
        (changed(turns=turns("user", {"text": None})), "a text is damaged"),
        (changed(turns=turns("user", {"sound": ""})), "a part must have one of text, image"),
        (changed(turns=turns("user", {"image": "?"})), "an image is damaged"),
        (changed(turns=turns("user", {"image": "iVBORw0KGgo="})), "an image is damaged"),
    ],
)
def test_a_broken_line_is_named_with_its_file_and_number(
    tmp_path: Path, line: str, reason: str
) -> None:
    (file := tmp_path / "broken.jsonl").write_text(f"{to_line(GOOD)}\n{line}\n", encoding="utf-8")
    records = Records([file])
    assert records[0] == GOOD
    with pytest.raises(BadTraining, match=rf"broken\.jsonl, line 2 is not a record: {reason}") as e:
        records[1]
    assert "\n" not in str(e.value)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (file := tmp_path / "broken.jsonl").write_bytes(b'{"name": "\xff"}\n')
    with pytest.raises(BadTraining, match=r"broken\.jsonl, line 1 is not a record: not valid JSON"):
        list(Records([file]))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadTraining, match=r"cannot read the records in .*none\.jsonl: No such"):
        Records([tmp_path / "none.jsonl"])
    with pytest.raises(BadTraining, match=r"cannot read the records in .*: Is a directory"):
        Records([tmp_path])
    (file := tmp_path / "records.jsonl").write_text(to_line(GOOD) + "\n", encoding="utf-8")
    records = Records([file])
    file.unlink()
    with pytest.raises(BadTraining, match=r"cannot read the records in .*records\.jsonl: No such"):
        records[0]


def test_recording_into_a_file_that_is_not_a_file_of_records_is_refused(
    tmp_path: Path, pair: Pair
) -> None:
    for text in ("important\n", "important"):
        (file := tmp_path / "notes.txt").write_text(text)
        with pytest.raises(BadTraining, match=r"notes\.txt holds other text"):
            records_of(file, pair)
        assert file.read_text() == text
    assert not pair.opened
