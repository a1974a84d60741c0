"""Sampling of a run: the options, and what vendors recommend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dreamr._families import UNKNOWN, Family, recognize
from dreamr._option_specs import BadOption
from dreamr._options import RunOptions
from dreamr._reasoner import Reasoner
from dreamr._sampling import PLAIN, read_biases, vendors
from dreamr.conversation import Conversation, Image
from dreamr.engines import Model, ModelSource, ScriptedEngine
from dreamr.evaluation.bench.options import BenchOptions
from dreamr.steps import Role, StepFormat
from dreamr.trace import Note, RunStarted

VL, DRAFT = recognize("Qwen/Qwen3-VL-32B-Instruct"), recognize("google/gemma-3-4b-it")


def opener(target: Family, draft: Family, step_format: StepFormat | None = None) -> Any:
    async def opened(source: ModelSource) -> Model:
        engine = ScriptedEngine(script=["One.\n\n", "Answer: 1"])
        family = target if source.role == "target" else draft
        return Model(engine, step_format or StepFormat(), family=family)

    return opened


async def ready(model: Model) -> Model:
    return model


def begun(options: RunOptions, open_model: Any) -> tuple[RunStarted, list[str]]:
    with Reasoner(options, open_model=open_model) as reasoner:
        events = reasoner.ask("One?").events
    started = next(event for event in events if isinstance(event, RunStarted))
    return started, [event.message for event in events if isinstance(event, Note)]


def test_the_vendors_sampling_applies_if_none_is_set_and_is_named_once() -> None:
    started, notes = begun(RunOptions(), opener(VL, VL))
    assert started.options["temperature"] == 0.7
    assert started.options["top_k"] == 20
    assert started.options["presence_penalty"] == 1.5
    assert notes == [
        "sampling recommended for Qwen3-VL by its Qwen3-VL-8B-Instruct model card: temperature "
        "0.7, top_p 0.8, top_k 20, presence_penalty 1.5, repetition_penalty 1 "
        "(--no-model-defaults: greedy)"
    ]


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(model_defaults=False),
        RunOptions(temperature=0),
        RunOptions(presence_penalty=0.5),
        RunOptions(method="prompt-lookup"),
        RunOptions(method="target", logit_bias=("1=-1",)),
    ],
)
def test_the_vendors_sampling_is_left_alone_otherwise(options: RunOptions) -> None:
    started, notes = begun(options, opener(VL, VL))
    assert started.options["temperature"] == 0.0
    assert notes == []


def test_a_temperature_of_the_user_comes_without_the_vendors_penalties() -> None:
    started, _ = begun(RunOptions(temperature=0.5), opener(VL, VL))
    assert started.options["temperature"] == 0.5
    assert "presence_penalty" not in started.options


@pytest.mark.parametrize(
    "family", [UNKNOWN, recognize("embedded"), recognize("llava-hf/llava-1.5-7b-hf")]
)
def test_models_without_a_recommendation_and_the_bundled_pair_are_greedy(family: Family) -> None:
    started, notes = begun(RunOptions(), opener(family, family))
    assert started.options["temperature"] == 0.0
    assert notes == []


def test_each_model_of_a_pair_has_its_own_recommendation() -> None:
    options = RunOptions()
    target, draft = (Model(ScriptedEngine(), family=family) for family in (VL, DRAFT))
    models: dict[Role, Model] = {"target": target, "draft": draft}

    config = options.run_config(None, vendors(options, models))
    assert config.sampling_of("target").temperature == 0.7
    assert config.sampling_of("draft").temperature == 1.0
    assert config.sampling_of("draft").top_k == 64


def test_a_template_that_opens_a_thought_decides_which_recommendation_applies() -> None:
    thinking = Model(ScriptedEngine(), StepFormat(opens_thought=True), family=VL)
    assert thinking.vendor_sampling(PLAIN) is VL.thinking_sampling


def test_a_model_that_thinks_about_text_only_is_sampled_otherwise_about_images() -> None:
    family = recognize("Qwen/Qwen3.6-27B")

    def opened(source: ModelSource) -> Any:
        engine = ScriptedEngine(script=["One.\n\n", "Answer: 1"])
        return ready(Model(engine, family=family, thinks_about=lambda talk: not talk.images))

    with Reasoner(RunOptions(), open_model=opened) as reasoner:
        image = Image(bytes(12), 2, 2)
        started = [
            next(event for event in reasoner.ask(*asked).events if isinstance(event, RunStarted))
            for asked in (("One?",), (Conversation.from_prompt("One?", image),))
        ]
    assert [one.options["temperature"] for one in started] == [1.0, 0.7]


@pytest.mark.parametrize(
    ("target", "thinks", "opens", "noted"),
    [
        ("Qwen/Qwen3.6-27B", False, False, True),
        ("Qwen/Qwen3-VL-32B-Instruct", False, False, True),
        ("Qwen/Qwen3-VL-32B-Thinking", False, False, False),  # cannot be switched off
        ("Qwen/Qwen3.6-27B", True, True, False),  # the template opens a thought nevertheless
        ("OpenGVLab/InternVL3_5-8B", False, False, False),  # a system prompt switches it
        ("somebody/model", False, False, False),
    ],
)
@pytest.mark.parametrize("thinking", ["off", "auto"])
def test_a_thinking_budget_has_no_effect_only_if_all_models_can_switch_thinking_off(
    target: str, thinks: bool, opens: bool, noted: bool, thinking: Any
) -> None:
    def opened(source: ModelSource) -> Any:
        engine = ScriptedEngine(script=["One.\n\n", "Answer: 1"])
        draft = source.role == "draft"
        family = VL if draft else recognize(target)
        marks = StepFormat(opens_thought=opens and not draft)
        return ready(
            Model(engine, marks, family=family, thinks_about=lambda _: thinks and not draft)
        )

    options = RunOptions(thinking=thinking, thinking_budget=50, model_defaults=False)
    _, notes = begun(options, opened)
    told = "thinking_budget without effect: thinking is off" in notes
    assert told is (noted and thinking == "off")


def test_a_bench_is_greedy_whatever_vendors_recommend() -> None:
    plan = BenchOptions(task=("story",)).plan(RunOptions(target="Qwen/Qwen3-VL-2B-Instruct"))
    assert plan.options.temperature == 0.0


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (("x",), "TOKEN=BIAS"),
        (("5=1.2.3",), "TOKEN=BIAS"),
        (("5=101",), "between"),
        (("5=nan",), "TOKEN"),
    ],
)
def test_a_bias_that_cannot_be_read_is_refused_by_name(texts: tuple[str, ...], named: str) -> None:
    with pytest.raises(BadOption, match=named):
        RunOptions(logit_bias=texts)


@pytest.mark.parametrize("bias", [-100, 0.00001, 12.345678, -1e-7, 0.0])
def test_biases_of_any_size_are_read(bias: float) -> None:
    options = RunOptions(logit_bias={5: bias})  # type: ignore[arg-type]
    assert read_biases(options.logit_bias) == ((5, bias),)


@pytest.mark.parametrize("bias", [None, "much", float("inf")])
def test_a_bias_that_is_no_number_is_refused_by_name(bias: object) -> None:
    with pytest.raises(BadOption, match="--logit-bias '5="):
        RunOptions(logit_bias={5: bias})  # type: ignore[arg-type]


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(BadOption, match="--stop must not be empty"):
        RunOptions(stop=("",))


def test_token_sd_refuses_penalties() -> None:
    with pytest.raises(BadOption, match="token-sd compares"):
        RunOptions(method="token-sd", presence_penalty=1.0)


def test_a_parameter_that_an_engine_does_not_take_is_named_once() -> None:
    async def opened(source: ModelSource) -> Model:
        engine = ScriptedEngine(script=["One.\n\n", "Answer: 1"], name=source.role)
        if source.role == "draft":
            taken = frozenset({"presence_penalty"})
            engine.capabilities = replace(engine.capabilities, sampling=taken)
        return Model(engine)

    options = RunOptions(temperature=1, top_k=20, min_p=0.1, presence_penalty=1)
    _, notes = begun(options, opened)
    assert notes == ["top_k, min_p without effect: not taken by the draft draft"]
