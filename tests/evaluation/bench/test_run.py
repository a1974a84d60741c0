"""A bench solves each problem once with each method, also after interruptions."""

from __future__ import annotations

import json
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from dreamr_testbed import RECEIPT

from dreamr import RunOptions
from dreamr._option_specs import BadOption
from dreamr._profiles import model_identities, open_profile
from dreamr.engines import Capabilities, Failure, Model, ModelSource, ScriptedEngine
from dreamr.engines.model_set import ReopenPolicy
from dreamr.errors import EngineLost, Unsupported, Unwritable
from dreamr.evaluation.bench import (
    PRESETS,
    BenchError,
    Plan,
    Progress,
    Sample,
)
from dreamr.evaluation.bench import models as models_of_benches
from dreamr.evaluation.bench.plan import Batch, PlannedProblem
from dreamr.evaluation.report import write_report
from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.tasks import Item, Items, UnknownTask
from dreamr.gate import CascadeGate, Profile, RatioGate, write_profile
from support.benches import OWN, ScriptedModels, run_plan, samples
from support.published import MMBENCH, mmbench, write

PLAN = Plan(("vqa", "story"), ("target", "fpsr", "specreason-7"), limit=3)


def bench(path: Path, plan: Plan = PLAN, *given: Any, **named: Any) -> list[Sample]:
    return run_plan(path, plan, *given, **named)


def stop_after(count: int) -> Callable[[Progress], None]:
    def stop(progress: Progress) -> None:
        if progress.done == count:
            raise KeyboardInterrupt

    return stop


def test_every_method_solves_every_problem_once(tmp_path: Path) -> None:
    found = bench(tmp_path / "out")
    assert len(found) == PLAN.samples() == 2 * 3 * 3
    assert len({sample.key for sample in found}) == len(found)
    for first in range(0, len(found), 3):
        turn = found[first : first + 3]
        assert {sample.method for sample in turn} == set(PLAN.methods)
        assert len({(sample.task, sample.index) for sample in turn}) == 1
    orders = {tuple(s.method for s in found[i : i + 3]) for i in range(0, len(found), 3)}
    assert len(orders) > 1, "a method that is always first would always have the cold machine"


def in_dtype(dtype: str) -> dict[str, Any]:
    return {"capabilities": Capabilities(logprobs=True, entropy=True, dtype=dtype)}


class Sources(ScriptedModels):
    """Scripted models that keep the data types that were asked for."""

    def __init__(self, *values: dict[str, Any]) -> None:
        super().__init__(*values)
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, source: ModelSource) -> Model:
        self.asked.append((source.role, source.dtype))
        return await super().__call__(source)


def test_the_data_types_of_local_models_are_in_the_provenance(tmp_path: Path) -> None:
    bench(tmp_path, open_model=ScriptedModels(in_dtype("bfloat16")))
    (session,) = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
    assert session["dtypes"] == {"target": "bfloat16"}


def test_a_bench_continues_in_its_data_type(tmp_path: Path) -> None:
    first = ScriptedModels(in_dtype("bfloat16"))
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path, open_model=first, on_progress=stop_after(3))
    models = Sources(in_dtype("bfloat16"))
    assert len(bench(tmp_path, open_model=models)) == PLAN.samples()
    assert set(models.asked) == {("target", "bfloat16"), ("draft", "auto")}


def test_a_bench_does_not_mix_data_types(tmp_path: Path) -> None:
    first = ScriptedModels(in_dtype("bfloat16"))
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path, open_model=first, on_progress=stop_after(3))
    with pytest.raises(BenchError, match="the target in bfloat16, and here it runs in float32"):
        bench(tmp_path, open_model=ScriptedModels(in_dtype("float32")))
    assert len(samples(tmp_path)) == 3


def test_a_model_that_is_opened_again_in_another_data_type_ends_the_bench(tmp_path: Path) -> None:
    dies = in_dtype("bfloat16") | {"stream_failures": {4: Failure(EngineLost("killed"))}}
    models = ScriptedModels(dies, in_dtype("float32"))
    with pytest.raises(Unsupported, match="opened again and runs in float32 instead of bfloat16"):
        bench(tmp_path, open_model=models)


def test_an_interrupted_bench_resumes_without_repeating_samples(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path, on_progress=stop_after(7))
    before = samples(tmp_path)
    assert len(before) == 7
    models = ScriptedModels()
    after = bench(tmp_path, open_model=models)
    assert after[:7] == before
    assert max(Counter(sample.key for sample in after).values()) == 1
    assert len(after) == PLAN.samples()


def test_a_finished_bench_opens_no_model(tmp_path: Path) -> None:
    bench(tmp_path)
    models = ScriptedModels()
    bench(tmp_path, open_model=models)
    assert not models.engines


def test_an_incomplete_last_line_is_removed_and_its_problem_repeated(tmp_path: Path) -> None:
    whole = bench(tmp_path)
    path = tmp_path / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [sample.key for sample in bench(tmp_path)] == [sample.key for sample in whole]


def test_a_warm_up_is_not_counted(tmp_path: Path) -> None:
    models = ScriptedModels()
    assert len(bench(tmp_path, open_model=models, warm_up=2)) == PLAN.samples()
    (target,) = (engine for engine in models.engines if engine.name == "target")
    cold = ScriptedModels()
    bench(tmp_path / "cold", open_model=cold)
    (other,) = (engine for engine in cold.engines if engine.name == "target")
    assert target.streams > other.streams


@pytest.mark.parametrize("change", [{"tasks": ("vqa",)}, {"seed": 5}, {"methods": ("target",)}])
def test_a_folder_of_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    before = bench(tmp_path)
    with pytest.raises(BenchError, match=f"another configuration.*{next(iter(change))}"):
        bench(tmp_path, replace(PLAN, **change))
    assert samples(tmp_path) == before


def test_the_limit_of_a_bench_may_grow_but_not_shrink(tmp_path: Path) -> None:
    bench(tmp_path)
    assert len(bench(tmp_path, replace(PLAN, limit=4))) == 2 * 4 * 3
    with pytest.raises(BenchError, match="--limit must be at least that, not 3"):
        bench(tmp_path)


def test_a_larger_limit_adds_problems_and_keeps_those_before(tmp_path: Path) -> None:
    row = {"attachments": None, "question": "How many?", "answer": "1"}
    (tmp_path / "own.jsonl").write_text(f"{json.dumps(row)}\n" * 100, encoding="utf-8")
    plan = Plan((str(tmp_path / "own.jsonl"),), ("target",), limit=5)
    before = bench(tmp_path / "out", plan)
    seen: list[Progress] = []
    after = bench(tmp_path / "out", replace(plan, limit=30), on_progress=seen.append)
    assert after[:5] == before
    assert len({sample.key for sample in after}) == len(after) == 30
    assert [(one.done, one.total) for one in seen] == [(done, 30) for done in range(6, 31)]


def test_rotations_of_a_question_are_one_problem_of_a_report(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", MMBENCH, [mmbench(answer="A")])
    plan = Plan(("mmbench",), ("target",), limit=1, sources={"mmbench": str(source)})
    models = ScriptedModels({"script": "It is seen.\n\nAnswer: A"})
    found = bench(tmp_path / "out", plan, models)
    assert [sample.right for sample in found] == [True, False, False]
    assert {sample.problem for sample in found} == {("mmbench", "241")}
    figure = figures(found).cells["mmbench", "target", 1]
    assert (figure.n, figure.accuracy.value) == (1, 0.0)


def test_samples_without_a_configuration_are_not_mixed_with_others(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("")
    with pytest.raises(BenchError, match="has samples but no"):
        bench(tmp_path)


def test_after_a_lost_worker_one_problem_is_repeated(tmp_path: Path) -> None:
    dies = {"stream_failures": {4: Failure(EngineLost("killed"))}}
    models = ScriptedModels(dies)
    found = bench(tmp_path, open_model=models)
    assert len(found) == PLAN.samples()
    assert Counter(sample.attempt for sample in found) == {1: PLAN.samples() - 1, 2: 1}
    assert all(sample.finish == "answer" for sample in found)
    assert [engine.name for engine in models.engines] == ["draft", "target", "target"]
    assert not any(engine.alive for engine in models.engines), "a model was left open"


def test_problems_side_by_side_survive_a_lost_draft(tmp_path: Path) -> None:
    opened: Counter[str] = Counter()

    async def open_one(source: ModelSource) -> Model:
        opened[source.role] += 1
        await anyio.sleep(0)  # other problems go on while a model is opened
        fails = source.role == "draft" and opened["draft"] == 1
        failures = {2: Failure(EngineLost("killed"))} if fails else {}
        return Model(ScriptedEngine(script=OWN, name=source.role, stream_failures=failures))

    plan = Plan(("vqa",), ("fpsr",), limit=8, concurrency=(4,))
    found = bench(tmp_path, plan, open_one)
    assert len(found) == plan.samples()
    assert all(sample.finish == "answer" for sample in found)
    assert opened == {"draft": 2, "target": 1}


def test_a_model_that_cannot_be_opened_again_ends_the_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()

    async def open_one(source: ModelSource) -> Model:
        opened[source.role] += 1
        if opened["target"] > 1:
            raise EngineLost("out of memory")
        return Model(ScriptedEngine(script=OWN, stream_failures={3: Failure(EngineLost("killed"))}))

    monkeypatch.setattr(models_of_benches, "_POLICY", ReopenPolicy(first=9.0, within=0.0))
    with pytest.raises(EngineLost, match=r"the target is lost and not open again.*out of memory"):
        bench(tmp_path, replace(PLAN, methods=("target",)), open_one)
    assert len(samples(tmp_path)) == 3


def test_five_failed_problems_in_a_row_abort_the_bench(tmp_path: Path) -> None:
    dead = {"stream_failures": {n: Failure(EngineLost("no memory")) for n in range(99)}}
    with pytest.raises(BenchError, match="5 problems in a row failed"):
        bench(tmp_path, replace(PLAN, methods=("target",)), open_model=ScriptedModels(*[dead] * 99))


class FewImages(ScriptedModels):
    """Scripted models with a target that reads two images."""

    def __init__(self) -> None:
        able = Capabilities(logprobs=True, entropy=True, max_images=2)
        super().__init__({"capabilities": able})


def with_images(path: Path, *counts: int) -> str:
    """Write a task whose problems have these numbers of images, and return its name."""
    rows = [
        {"attachments": [str(RECEIPT)] * count, "question": "How many?", "answer": "1"}
        for count in counts
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_problem_that_cannot_be_run_is_a_failed_sample(tmp_path: Path) -> None:
    task = with_images(tmp_path / "own.jsonl", 1, 3, 1)
    names = ("target", "fpsr", "fpsr-1", "fpsr-2", "sequential", "parse")
    plan = Plan((task,), names, limit=3)
    found = bench(tmp_path / "out", plan, FewImages())
    finishes = {sample.index: sample.finish for sample in found}
    assert len(found) == plan.samples()
    assert finishes == {0: "answer", 1: "failed", 2: "answer"}
    assert not any(sample.right for sample in found if sample.finish == "failed")
    assert {sample.index for sample in found if sample.error} == {1}


def test_a_bench_whose_problems_cannot_be_run_names_the_last(tmp_path: Path) -> None:
    plan = Plan((with_images(tmp_path / "own.jsonl", *[3] * 6),), ("target", "fpsr"), limit=6)
    reason = r"own\.jsonl 4: the target target cannot .* has 3 with pages .*; 5 problems in a row"
    with pytest.raises(BenchError, match=reason):
        bench(tmp_path / "out", plan, FewImages())


def test_a_method_that_the_models_cannot_run_ends_the_bench_at_once(tmp_path: Path) -> None:
    models = ScriptedModels({"capabilities": Capabilities(judge=False)})
    with pytest.raises(Unsupported, match="gate ratio needs probabilities"):
        bench(tmp_path, replace(PLAN, methods=("fpsr",)), models)
    assert samples(tmp_path) == []


def test_concurrent_problems_share_the_wall_clock_time(tmp_path: Path) -> None:
    class Counting(ScriptedEngine):
        most = 0

        async def _work(self, *arguments: Any) -> None:
            Counting.most = max(Counting.most, self.open_streams)
            await super()._work(*arguments)

    async def open_one(source: ModelSource) -> Model:
        return Model(Counting(script=OWN))

    plan = Plan(("vqa",), ("target",), limit=6, concurrency=(1, 3))
    found = bench(tmp_path, plan, open_one)
    assert Counting.most == 3
    assert {sample.share is None for sample in found if sample.concurrency == 1} == {True}
    assert len({sample.share for sample in found if sample.concurrency == 3}) == 1


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may become larger than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_reported_and_loses_no_finished_sample(tmp_path: Path) -> None:
    size = len(bench(tmp_path / "whole")[0].to_json().__str__())
    with room_for(4 * size), pytest.raises(Unwritable, match="run the same command again"):
        bench(tmp_path / "full")
    before = samples(tmp_path / "full")
    assert 0 < len(before) < PLAN.samples()
    assert bench(tmp_path / "full")[: len(before)] == before


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=r"cannot write .*file/out"):
        bench(tmp_path / "file" / "out")


def test_the_keys_of_a_batch_are_known_without_drawing_its_images() -> None:
    def draw(index: int) -> Item:
        raise AssertionError(f"image {index} was drawn")

    problem = PlannedProblem("vqa", Items(range(50_000, 50_003), draw), 1)
    assert Batch("fpsr", 1, (problem,)).keys() == [("vqa", 50_001, "fpsr", 1)]
    with pytest.raises(AssertionError, match="image 50001"):
        problem.item  # noqa: B018


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(Unsupported, match="'magic'; known: target, draft, token-sd"):
        Plan(("vqa",), ("magic",), 1)
    with pytest.raises(UnknownTask, match="'chess'; known: docmath"):
        list(Plan(("chess",), ("target",), 1).batches())
    with pytest.raises(Unsupported, match="methods: target, target contains duplicates"):
        Plan(("vqa",), ("target", "target"), 1)
    with pytest.raises(Unsupported, match="at least 1"):
        Plan(("vqa",), ("target",), 0)


def test_pieces_of_steps_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    found = bench(tmp_path, Plan(("vqa",), ("token-sd", "sequential"), limit=1))
    right = {
        sample.method: {span.right for span in sample.spans if span.lane != "judge"}
        for sample in found
    }
    assert right["token-sd"] == {None}
    assert False in right["sequential"]


def test_only_the_preset_of_a_profile_uses_its_gate(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    write_profile(path, Profile(RatioGate(1.0), 0.1, 0.9, model_identities(RunOptions()), {}, {}))
    options = RunOptions(profile=str(path))
    gates = {
        name: PRESETS[name].options(options).run_config(open_profile(options)).gate
        for name in ("fpsr", "fpsr-profile")
    }
    assert gates == {"fpsr": RatioGate(0.7), "fpsr-profile": RatioGate(1.0)}
    (sample,) = bench(tmp_path / "b", Plan(("vqa",), ("fpsr-profile",), limit=1, options=options))
    assert sample.answer == "1"
    assert write_report(tmp_path / "b").exists()
    with pytest.raises(BadOption, match="--profile"):
        Plan(("vqa",), ("fpsr-profile",), limit=1)


def test_a_preset_that_names_a_gate_ignores_the_gate_of_the_options() -> None:
    base = RunOptions(gate="cascade", draft_confidence=0.9, target_confidence=0.2)
    gates = {
        name: PRESETS[name].options(base).run_config().gate
        for name in ("fpsr", "fpsr-ratio-30", "fpsr-cascade-50")
    }
    assert gates == {
        "fpsr": CascadeGate(target_confidence=0.2, draft_confidence=0.9),
        "fpsr-ratio-30": RatioGate(0.3),
        "fpsr-cascade-50": CascadeGate(target_confidence=0.5),
    }


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"fpsr-profile"}))
def test_every_preset_runs(name: str, tmp_path: Path) -> None:
    (sample,) = bench(tmp_path, Plan(("vqa",), (name,), limit=1))
    assert sample.method == name
    assert sample.finish in ("answer", "stop")
    assert sample.answer == "1"
