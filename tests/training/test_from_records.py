"""Short trainings of the bundled draft on records."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from dreamr_testbed import PAIR
from safetensors.torch import load_file

from dreamr.conversation import Conversation, Tool
from dreamr.engines import SamplingParams
from dreamr.engines.local import LocalEngine
from dreamr.engines.local.options import read_hints
from dreamr.evaluation.tasks import Item, load
from dreamr.steps import StepFormat
from dreamr.training import BadTraining, Record, Records, RecordsOptions, to_line, write
from dreamr.training.from_records import examples, steps_of, train_from_records
from dreamr.training.records import Recorded, Rejected
from support.attachments import sound

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

ITEM: Item = load("docmath", limit=1, split="train")[0]
[IMAGE] = ITEM.conversation.images
SEVERAL = Conversation.from_prompt("What do they cost?", IMAGE, IMAGE, IMAGE)
OWN, REFUSED = "Line 9: tea 3 x 4 = 12.\n\n", "Line 9: nuts, no.\n\n"


def made(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "name": "x",
        "method": "fpsr",
        "conversation": ITEM.conversation,
        "steps": (Recorded(OWN, "target"), Recorded("Answer: 12", "target")),
        "rejected": (Rejected(0, REFUSED),),
        "complete": True,
        "right": True,
    }
    return Record(**{**values, **changes})


def trained(out: Path, **options: Any) -> Path:
    values = {"batch": 2, "learning_rate": 3e-3, **options}
    on_step = values.pop("on_step", lambda step, row: None)
    file = out.with_suffix(".jsonl")
    file.write_text(f"{to_line(values.pop('record', made()))}\n" * 4, encoding="utf-8")
    return train_from_records(Records([file]), RecordsOptions(**values), out, on_step=on_step)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_sft_teaches_the_committed_text(tmp_path: Path) -> None:
    model = trained(tmp_path / "out", epochs=20)

    async def wrote() -> str:
        async with await LocalEngine.open(str(model)) as engine:
            return (await write(engine, ITEM, StepFormat(), SamplingParams(max_tokens=40))).text

    assert anyio.run(wrote) == made().text
    log = rows(tmp_path / "out")
    assert len(log) == steps_of(4, RecordsOptions(batch=2, epochs=20)) == 40
    assert float(log[-1]["loss"]) < float(log[0]["loss"])


def test_dpo_prefers_the_targets_step_to_the_rejected_one(tmp_path: Path) -> None:
    model = trained(tmp_path / "out", method="dpo", epochs=4)
    log = rows(tmp_path / "out")
    assert float(log[-1]["margin"]) > 0.0 == float(log[0]["margin"])
    assert json.loads((model / "training.json").read_text())["dpo"]["epochs"] == 4


def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", epochs=2, save_every=2)

    def kill(step: int, row: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", epochs=2, save_every=2, on_step=kill)
    resumed = trained(tmp_path / "killed", epochs=2, save_every=2)
    expected, found = (load_file(path / "model.safetensors") for path in (whole, resumed))
    assert all(expected[name].equal(found[name]) for name in expected)
    assert [row["loss"] for row in rows(tmp_path / "whole")] == [
        row["loss"] for row in rows(tmp_path / "killed")
    ]


def test_a_folder_is_refused_for_other_records(tmp_path: Path) -> None:
    trained(tmp_path / "out")
    (file := tmp_path / "other.jsonl").write_text(f"{to_line(made(right=None))}\n" * 4)
    with pytest.raises(BadTraining, match=r"another configuration \(changed: records;"):
        train_from_records(
            Records([file]), RecordsOptions(batch=2, learning_rate=3e-3), tmp_path / "out"
        )


def test_records_with_more_images_than_a_draft_was_trained_for_need_an_option(
    tmp_path: Path,
) -> None:
    record = made(conversation=SEVERAL)
    with pytest.raises(BadTraining, match=r"record x has 3 images, but the draft was trained for"):
        trained(tmp_path / "out", record=record)
    model = trained(tmp_path / "out", record=record, untrained=True)
    before, after = read_hints(PAIR / "draft"), read_hints(model)
    assert (before.max_images, after.max_images) == (1, 3)
    assert replace(after, max_images=1) == before


@pytest.mark.parametrize(
    ("conversation", "reason"),
    [
        (Conversation.from_prompt("", sound()), "a draft in training takes no sound: "),
        (replace(ITEM.conversation, tools=(Tool("weather", "Ask."),)), "a draft is not trained on"),
    ],
)
def test_a_record_that_a_draft_cannot_learn_is_named_before_the_training(
    conversation: Conversation, reason: str
) -> None:
    records = [made(), made(name="vqa/7", conversation=conversation)]
    with pytest.raises(BadTraining, match=f"^record vqa/7: {reason}"):
        examples(records, RecordsOptions())
    wrong = made(conversation=conversation, right=False)
    assert [one.number for one in examples([made(), wrong], RecordsOptions())] == [0]


def test_wrong_and_incomplete_runs_are_left_out() -> None:
    records = [made(right=False), made(complete=False), made(right=None), made()]
    assert [one.number for one in examples(records, RecordsOptions())] == [2, 3]


@pytest.mark.parametrize(
    ("record", "method", "message"),
    [
        (made(right=False), "sft", "holds a complete run without a wrong answer: record more"),
        (made(rejected=()), "dpo", "holds a rejected step that the target replaced"),
    ],
)
def test_records_without_examples_are_an_error(record: Record, method: Any, message: str) -> None:
    with pytest.raises(BadTraining, match=message):
        examples([record], RecordsOptions(method=method))
