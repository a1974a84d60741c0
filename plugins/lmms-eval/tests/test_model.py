"""The model in the real lmms-eval."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the tests use no network
pytest.importorskip("lmms_eval", reason="lmms-eval is not installed: use plugins/lmms-eval/test")

import lmms_eval.models as models
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from dreamr import Reasoner, RunFailed, RunOptions, Unsupported
from dreamr.engines import Context, Model, ModelSource, ScriptedEngine
from dreamr.errors import EngineLost
from dreamr.evaluation.tasks import load
from lmms_eval.api.instance import Instance
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.tasks import TaskManager

from dreamr_lmms_eval.model import DreamrChat

STEPS = ("Tea costs 2.50.\n\n", "Milk costs 1.20.\n\n", "Answer: 3.70")


@dataclass
class Scripted:
    """Opens scripted models and records the conversations that they get."""

    script: Any = STEPS
    seen: list[Any] = field(default_factory=list)
    opened: int = 0
    target: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, source: ModelSource) -> Model:
        self.opened += 1
        return Model(ScriptedEngine(script=self._write, opinion=0.9, **self.target))

    def _write(self, context: Context) -> str:
        self.seen.append(context.conversation)
        if callable(self.script):
            return str(self.script(context))
        return "".join(self.script[len(context.prefix) :])


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


def model_of(scripted: Scripted, **arguments: Any) -> DreamrChat:
    return DreamrChat(
        reasoner=Reasoner(RunOptions(method="target"), open_model=scripted), **arguments
    )


def requests_of(model: DreamrChat, *questions: str, **arguments: Any) -> list[Instance]:
    """Create requests as lmms-eval does for a chat model."""
    documents = [
        {"question": question, "image": PIL.Image.new("RGB", (2, 2))} for question in questions
    ]
    model.task_dict["receipts"] = {"test": documents}

    def messages(document: dict[str, Any]) -> list[dict[str, Any]]:
        content = [
            {"type": "image", "url": document["image"]},
            {"type": "text", "text": document["question"]},
        ]
        return [{"role": "user", "content": content}]

    return [
        Instance(
            request_type="generate_until",
            arguments=(question, messages, dict(arguments), number, "receipts", "test"),
            idx=0,
            metadata={"task": "receipts", "doc_id": number, "repeats": 1},
        )
        for number, question in enumerate(questions)
    ]


@pytest.fixture
def model(scripted: Scripted) -> Iterator[DreamrChat]:
    made = model_of(scripted)
    yield made
    made.clean()


def test_lmms_eval_finds_the_model_by_its_entry_point() -> None:
    assert models.get_model("dreamr") is DreamrChat
    assert "dreamr" in models.list_available_models()


def test_the_command_lines_arguments_reach_the_run() -> None:
    made = models.get_model("dreamr").create_from_arg_string(
        "target=some/folder,threshold=0.8,window=4,concurrency=2",
        {"batch_size": 1, "device": "cuda:0"},
    )
    options = made._reasoner.options
    assert (options.target, options.threshold, options.window) == ("some/folder", 0.8, 4)
    assert options.device == "cuda:0"


def test_the_response_is_the_answer_with_its_tokens(model: DreamrChat) -> None:
    (response,) = model.generate_until(requests_of(model, "What does it cost?"))
    assert response.text == "3.70"
    assert response.token_counts.output_tokens == 8


def test_the_response_may_be_the_whole_reasoning(scripted: Scripted) -> None:
    model = model_of(scripted, returns="text")
    (response,) = model.generate_until(requests_of(model, "What does it cost?", until=["Answer"]))
    model.clean()
    assert response.text == "Tea costs 2.50.\n\nMilk costs 1.20.\n\n"


def test_the_model_sees_the_image_the_question_and_the_system_prompt(scripted: Scripted) -> None:
    model = model_of(scripted, system_prompt="Reason.")
    model.generate_until(requests_of(model, "What does it cost?"))
    model.clean()
    system, user = scripted.seen[0].turns
    assert system.parts[0].text == "Reason."
    assert [type(part).__name__ for part in user.parts] == ["Image", "Text"]
    assert user.parts[1].text == "What does it cost?"


def test_responses_come_in_the_order_of_the_requests(scripted: Scripted) -> None:
    scripted.script = lambda context: f"Answer: {context.conversation.turns[-1].parts[-1].text}"
    model = model_of(scripted, concurrency=4)
    questions = [f"Question {number}" for number in range(20)]
    responses = model.generate_until(requests_of(model, *questions))
    model.clean()
    assert [response.text for response in responses] == questions


def test_models_are_opened_once_and_again_after_cleaning(
    scripted: Scripted, model: DreamrChat
) -> None:
    requests = requests_of(model, "What does it cost?")
    model.generate_until(requests)
    model.generate_until(requests)
    assert scripted.opened == 1
    model.clean()
    assert model.generate_until(requests)[0].text == "3.70"
    assert scripted.opened == 2


def test_a_failed_run_ends_the_evaluation_unless_on_error_is_empty(scripted: Scripted) -> None:
    def fail(context: Context) -> str:
        raise EngineLost("the worker is gone")

    scripted.script = fail
    strict, lenient = model_of(scripted), model_of(scripted, on_error="empty")
    with pytest.raises(RunFailed, match="the worker is gone"):
        strict.generate_until(requests_of(strict, "One?", "Two?"))
    responses = lenient.generate_until(requests_of(lenient, "One?", "Two?"))
    lenient.clean()
    assert [response.text for response in responses] == ["", ""]


@pytest.mark.parametrize("kind", ["loglikelihood", "generate_until_multi_round"])
def test_other_kinds_of_request_are_refused(model: DreamrChat, kind: str) -> None:
    with pytest.raises(Unsupported, match="choose a task whose output_type is generate_until"):
        getattr(model, kind)([])


TASK = """
task: receipts
dataset_path: parquet
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_visual: !function here.visuals
doc_to_text: !function here.question
doc_to_target: answer
generation_kwargs: {max_new_tokens: 16, until: ["ASSISTANT:"]}
process_results: !function here.score
metric_list: [{metric: right, aggregation: mean, higher_is_better: true}]
"""
FUNCTIONS = """
import io
import PIL.Image


def visuals(document):
    return [PIL.Image.open(io.BytesIO(document["image"]))]


def question(document, lmms_eval_specific_kwargs=None):
    return document["question"]


def score(document, results):
    return {"right": float(results[0] == document["answer"])}
"""


def test_a_whole_evaluation_runs_with_the_bundled_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    rows = []
    for item in load("docmath", limit=4):
        image, question = item.conversation.turns[-1].parts
        path = tmp_path / "image.png"
        PIL.Image.frombytes("RGB", (image.width, image.height), image.pixels).save(path)
        answer = item.right.args[0].answer
        rows.append({"image": path.read_bytes(), "question": question.text, "answer": answer})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "here.py").write_text(FUNCTIONS)
    task = TASK.replace("FILE", str(tmp_path / "rows.parquet"))
    (tmp_path / "tasks" / "receipts.yaml").write_text(task)

    results = simple_evaluate(
        model="dreamr",
        model_args="concurrency=2",
        tasks=["receipts"],
        task_manager=TaskManager(
            include_path=str(tmp_path / "tasks"), include_defaults=False, model_name="dreamr"
        ),
    )

    assert results["results"]["receipts"]["right,none"] >= 0.5
    assert len(results["samples"]["receipts"]) == 4
