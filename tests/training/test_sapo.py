"""Short trainings of the bundled draft by SAPO, graded by a scripted target."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from dreamr_testbed import PAIR
from safetensors.torch import load_file
from transformers import AutoProcessor, PreTrainedTokenizerFast
from trl import GRPOTrainer

from dreamr.conversation import Conversation, Text, flatten, to_pillow
from dreamr.engines import Capabilities, Context, Model, ModelSource, ScriptedEngine
from dreamr.engines.local.detokenize import Texts
from dreamr.engines.local.options import read_hints
from dreamr.errors import EngineError, Unsupported
from dreamr.gate import Evidence
from dreamr.steps import StepSplitter
from dreamr.training import (
    TERMS,
    BadReward,
    BadTraining,
    SapoOptions,
    add_term,
    training_problems,
)
from dreamr.training.rollout import cut
from dreamr.training.sapo import train_sapo
from dreamr.training.trainer import SapoTrainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

START = PAIR / "draft-before-sapo"
FEW: dict[str, Any] = {
    "task": "docmath",
    "problems": 4,
    "steps": 3,
    "batch": 4,
    "group": 2,
    "graders": 1,
    "max_tokens": 24,
    "learning_rate": 1e-3,
    "temperature": 2.0,
    "draft": "embedded-before-sapo",  # has more entropy than the one after SAPO
    "save_every": 2,
    "guards": False,
    "counting": "soft",
}
CONFIG = "grpo.yaml"
ONE_STEP: dict[str, Any] = {"steps": 1, "config": CONFIG}


def moody(context: Context, text: str) -> Evidence:
    """Return evidence that depends on the length of a step."""
    ratio = len(text) % 7 / 6
    return Evidence(ratio, 1 - ratio)


class Scripted:
    """Opener of scripted targets."""

    def __init__(self, **plan: Any) -> None:
        self.plan = {"script": "One.\n\nAnswer: 1", "opinion": moody, **plan}
        self.engines: list[ScriptedEngine] = []

    async def __call__(self, source: ModelSource) -> Model:
        self.engines.append(ScriptedEngine(**self.plan))
        return Model(self.engines[-1])


def train(out: Path, target: Scripted | None = None, **options: Any) -> Path:
    on_step = options.pop("on_step", lambda step, row: None)
    chosen = SapoOptions(**{**FEW, **options})
    return train_sapo(chosen, out, open_model=target or Scripted(), on_step=on_step)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration file of TRL, and a training of one step with it in `out`."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / CONFIG).write_text("loss_type: grpo\nreport_to: tensorboard\nweight_decay: 0.1\n")
    with pytest.MonkeyPatch.context() as changed:
        changed.chdir(folder)
        train(Path("out"), **ONE_STEP)
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, which is the current one."""
    copy = Path(shutil.copytree(finished, tmp_path / "finished"))
    monkeypatch.chdir(copy)
    return copy


class Whole(NamedTuple):
    """A training of all steps, which is not interrupted.

    Attributes:
        out: Its folder.
        model: Its draft.
        target: Its target.
    """

    out: Path
    model: Path
    target: Scripted


STEP_CREDIT: dict[str, Any] = {"step_credit": True, "micro_batch": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out, target = tmp_path_factory.mktemp("whole") / "out", Scripted()
    return Whole(out, train(out, target, **STEP_CREDIT), target)


def test_a_training_writes_a_draft_a_log_and_provenance(whole: Whole) -> None:
    model = whole.model
    changed = load_file(model / "model.safetensors")
    start = load_file(START / "model.safetensors")
    assert changed.keys() == start.keys()
    assert any(not changed[name].equal(start[name]) for name in start)
    assert {weights.dtype for weights in changed.values()} == {torch.float16}
    for file in START.iterdir():
        if file.suffix != ".safetensors":
            assert (model / file.name).read_bytes() == file.read_bytes(), file.name
    assert json.loads((model / "training.json").read_text())["sapo"]["steps"] == 3
    log = rows(whole.out)
    assert [row["step"] for row in log] == ["1", "2", "3"]
    for name in ("reward_outcome", "reward_draft", "reward_length", "acceptance", "tokens", "kl"):
        assert all(math.isfinite(float(row[name])) for row in log), name
    assert all(not engine.alive for engine in whole.target.engines)


def test_every_token_has_the_advantage_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the advantages in the loss, after TRL has shuffled and split the batch."""
    seen = []

    def loss(self: SapoTrainer, model: Any, inputs: dict[str, Any]) -> Any:
        seen.append({name: inputs[name].clone() for name in ("completion_ids", "advantages")})
        return GRPOTrainer._compute_loss(self, model, inputs)

    monkeypatch.setattr(SapoTrainer, "_compute_loss", loss)
    # Only the draft term counts, so the advantage of a token is that of its step.
    train(tmp_path / "out", step_credit=True, micro_batch=2, steps=1, weights="draft=1")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(START)
    texts = Texts(tokenizer.backend_tokenizer, frozenset(tokenizer.all_special_ids))
    carried: dict[tuple[str, ...], set[float]] = {}
    for batch in seen:
        for ids, advantages in zip(batch["completion_ids"], batch["advantages"], strict=True):
            at, before = 0, ()
            for step in cut(ids.tolist(), texts, StepSplitter(), truncated=True):
                values = set(advantages[at : at + step.tokens].tolist())
                assert len(values) == 1, "all tokens of a step have the same advantage"
                carried.setdefault((*before, step.text), set()).update(values)
                at, before = at + step.tokens, (*before, step.text)
    assert len(seen) == 2
    assert any(value != 0.0 for values in carried.values() for value in values)
    # The same step after the same steps has the same advantage in every completion.
    assert all(len(values) == 1 for values in carried.values())


SEVERAL: dict[str, Any] = {
    "task": "pages,docmath-hard:1",
    "problems": 2,
    "steps": 2,
    "weights": "1:1:1:0.5",
    "step_credit": True,
    "untrained": True,
}


class Several(NamedTuple):
    """A training on several images.

    Attributes:
        out: Its folder.
        model: Its draft.
        seen: The inputs of each computation of the loss, after TRL has shuffled and split the
            batches.
    """

    out: Path
    model: Path
    seen: list[dict[str, Any]]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Several:
    out, seen = tmp_path_factory.mktemp("several") / "out", list[dict[str, Any]]()

    def loss(self: SapoTrainer, model: Any, inputs: dict[str, Any]) -> Any:
        seen.append({name: inputs[name] for name in ("prompt_ids", "num_images", "pixel_values")})
        return GRPOTrainer._compute_loss(self, model, inputs)

    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(SapoTrainer, "_compute_loss", loss)
        return Several(out, train(out, micro_batch=2, **SEVERAL), seen)


def test_rollouts_with_several_images_keep_those_of_their_problem(several: Several) -> None:
    processor = AutoProcessor.from_pretrained(START)
    problems = training_problems(tuple(SEVERAL["task"].split(",")), 2, 0)
    conversations = [problems[number].conversation for number in range(len(problems))]
    expected = {asked_in(one): pixels(processor, one) for one in conversations}
    found = set()
    for batch in several.seen:
        at = 0
        for ids, count in zip(batch["prompt_ids"], batch["num_images"], strict=True):
            text = "".join(processor.tokenizer.decode(ids).split())
            [question] = [each for each in expected if each in text]
            assert batch["pixel_values"][at : at + count].equal(expected[question])
            at, found = at + count, found | {count}
        assert at == len(batch["pixel_values"])
    assert len(several.seen) == 4
    assert found > {2}, "the problems have different numbers of images"


def pixels(processor: Any, conversation: Conversation) -> Any:
    images = list(map(to_pillow, flatten(conversation).images))
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def asked_in(conversation: Conversation) -> str:
    texts = (part.text for part in conversation.turns[-1].parts if isinstance(part, Text))
    return "".join("".join(texts).split())


def test_a_training_on_places_logs_them_and_lifts_the_limits_of_the_draft(several: Several) -> None:
    before = read_hints(START)
    assert before.max_images == 1
    for row in rows(several.out):
        assert 0 <= float(row["reward_places"]) <= 1
        assert 0 <= float(row["wrong_places"]) <= float(row["places"]) <= 1
    after = read_hints(several.model)
    assert after.max_images is not None
    assert after.max_images >= 2
    assert before.trained_tasks is not None
    more = {"pages": (1, 2, 3), "docmath-hard": (1,)}
    assert after.trained_tasks == {**before.trained_tasks, **more}
    assert after.judge_prompt == before.judge_prompt


def test_more_images_than_the_draft_was_trained_for_are_refused_before_it_writes(
    tmp_path: Path,
) -> None:
    target = Scripted()
    with pytest.raises(Unsupported, match="the model reads 1 image in a conversation, not"):
        train(tmp_path / "out", target, **{**SEVERAL, "untrained": False})
    assert not target.engines[0].streams


def test_a_batch_that_cannot_be_split_evenly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTraining, match="a batch of 4 cannot be split evenly"):
        train(tmp_path / "out", micro_batch=3)


def test_a_folder_is_refused_for_an_edited_configuration_file(folder: Path) -> None:
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace("0.1", "0.2"))
    with pytest.raises(BadTraining, match=r"another configuration \(changed: config;"):
        train(Path("out"), **ONE_STEP)


def test_a_tensorboard_log_can_be_enabled(folder: Path) -> None:
    assert list((folder / "out").rglob("events.out.tfevents*"))


def test_the_trained_draft_can_be_loaded_by_the_local_engine(folder: Path) -> None:
    import anyio

    from dreamr.engines.local import LocalEngine

    async def opened() -> str | None:
        async with await LocalEngine.open(str(folder / "out" / "draft")) as engine:
            return engine.hints.answer_marker

    assert anyio.run(opened) == "Answer:"


def test_a_killed_training_resumes_to_the_same_draft(whole: Whole, tmp_path: Path) -> None:
    check_resumption(whole.out, tmp_path / "killed", STEP_CREDIT)


def test_a_killed_training_of_adapters_resumes_to_the_same_draft(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lora": 2}
    train(tmp_path / "whole", **options)
    check_resumption(tmp_path / "whole", tmp_path / "killed", options)


def test_a_killed_training_of_several_images_resumes_to_the_same_draft(tmp_path: Path) -> None:
    # The most images are in a problem before the checkpoint.
    options: dict[str, Any] = {**SEVERAL, "problems": 3, "steps": 3, "seed": 1}
    train(tmp_path / "whole", **options)
    check_resumption(tmp_path / "whole", tmp_path / "killed", options)


def check_resumption(whole: Path, killed: Path, options: dict[str, Any]) -> None:
    """Compare a training that is killed and resumed with the one in `whole`."""

    def kill(step: int, row: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(killed, on_step=kill, **options)
    assert not (killed / "draft").exists()
    train(killed, **options)
    expected, found, start = (
        load_file(path / "model.safetensors") for path in (whole / "draft", killed / "draft", START)
    )
    assert expected.keys() == found.keys() == start.keys()  # with adapters, too, a whole model
    assert all(expected[name].equal(found[name]) for name in expected)
    assert read_hints(killed / "draft") == read_hints(whole / "draft")
    timed = ("seconds", "samples_per_second")
    first, second = (
        [{k: v for k, v in row.items() if k not in timed} for row in rows(out)]
        for out in (whole, killed)
    )
    assert first == second


def test_a_finished_training_is_not_repeated(folder: Path) -> None:
    target = Scripted()
    assert train(Path("out"), target, **ONE_STEP) == Path("out", "draft")
    assert not target.engines


@pytest.mark.usefixtures("folder")
def test_another_training_is_refused_before_models_are_opened() -> None:
    target = Scripted()
    with pytest.raises(BadTraining, match="another configuration"):
        train(Path("out"), target, **{**ONE_STEP, "steps": 2})
    assert not target.engines


def test_a_target_without_log_probabilities_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    target = Scripted(capabilities=Capabilities(judge=False))
    with pytest.raises(Unsupported, match="log-probabilities"):
        train(tmp_path / "out", target)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_reward_that_is_not_finite_ends_the_training_before_the_first_step(
    tmp_path: Path,
) -> None:
    try:
        add_term("broken", lambda one, group, scheme: math.nan)
        with pytest.raises(BadReward, match="'broken' is nan"):
            train(tmp_path / "out", weights="outcome=1,broken=1")
    finally:
        TERMS.pop("broken", None)
    assert not rows(tmp_path / "out")


def test_equal_rewards_for_all_rollouts_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadTraining, match="earn the same reward, so there is nothing to learn"):
        train(tmp_path / "out", Scripted(opinion=1.0), weights="draft=1")


def test_a_failing_target_is_a_clear_error(tmp_path: Path) -> None:
    def lost(context: Context, text: str) -> float:
        raise EngineError("the target's memory is full")

    with pytest.raises(EngineError, match="memory is full"):
        train(tmp_path / "out", Scripted(opinion=lost))


def test_a_draft_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(START, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(BadTraining, match="no chat template"):
        train(tmp_path / "out", draft=str(bare))


def test_an_unknown_field_of_a_trl_configuration_is_named(tmp_path: Path) -> None:
    file = tmp_path / CONFIG
    file.write_text("loss_tipe: grpo\n")
    with pytest.raises(BadTraining, match="loss_tipe"):
        train(tmp_path / "out", config=str(file), steps=1)
