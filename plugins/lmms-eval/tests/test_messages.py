"""Conversion of lmms-eval's messages and arguments, without lmms-eval."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import PIL.Image
import pytest
from dreamr import BadOption, ConversationError, Image, RunOptions, Text, Unsupported
from dreamr.conversation import Audio

from dreamr_lmms_eval.arguments import concurrency_of, one_of, options_of
from dreamr_lmms_eval.messages import conversation_of, cut


def user(*content: dict[str, object]) -> dict[str, object]:
    return {"role": "user", "content": list(content)}


def text(words: str) -> dict[str, object]:
    return {"type": "text", "text": words}


RED = {"type": "image", "url": PIL.Image.new("RGB", (2, 1), "red")}


def test_images_and_words_keep_their_order() -> None:
    conversation = conversation_of([user(text("Before"), RED, text("after?"))])
    (turn,) = conversation.turns
    assert turn.parts == (Text("Before"), Image(b"\xff\0\0" * 2, 2, 1), Text("after?"))


def test_earlier_turns_are_kept() -> None:
    turns = conversation_of(
        [user(text("One?")), {"role": "assistant", "content": "1"}, user(text("Two?"))]
    ).turns
    assert [turn.role for turn in turns] == ["user", "assistant", "user"]


def test_the_system_prompt_comes_first_unless_the_task_has_one() -> None:
    ours = conversation_of([user(text("One?"))], "Reason.")
    theirs = conversation_of([{"role": "system", "content": "Obey."}, user(text("?"))], "Reason.")
    assert ours.turns[0].parts == (Text("Reason."),)
    assert theirs.turns[0].parts == (Text("Obey."),)
    assert len(theirs.turns) == 2


def test_a_sound_is_an_array_with_its_sampling_rate() -> None:
    for samples in (np.zeros(8000), np.zeros((2, 8000)), np.zeros((8000, 2))):
        sound = {"array": samples, "sampling_rate": 8000}
        conversation = conversation_of([user({"type": "audio", "url": sound}, text("What?"))])
        [audio, _] = conversation.turns[0].parts
        assert isinstance(audio, Audio)
        assert audio.seconds == pytest.approx(1.0, abs=0.05)


def test_a_missing_video_is_named() -> None:
    with pytest.raises(ConversationError, match=r"nowhere\.mp4"):
        conversation_of([user({"type": "video", "url": "nowhere.mp4"}, text("What?"))])


def test_other_kinds_are_refused() -> None:
    with pytest.raises(Unsupported, match="not hologram: choose another task"):
        conversation_of([user({"type": "hologram", "url": "a"}, text("What?"))])


def test_an_image_without_a_question_is_refused() -> None:
    with pytest.raises(ConversationError, match="the question is empty"):
        conversation_of([user(RED)])


@pytest.mark.parametrize(
    ("until", "left"),
    [(None, "one\n\ntwo Q:"), ("\n\n", "one"), (["Q:", "two"], "one\n\n"), ([], "one\n\ntwo Q:")],
)
def test_a_response_ends_before_the_first_stop_string(
    until: str | list[str] | None, left: str
) -> None:
    assert cut("one\n\ntwo Q:", until) == left


def test_model_arguments_are_run_options() -> None:
    options = options_of({"target": 7, "threshold": 1, "window": 4, "max_tokens": 1000.0})
    assert options.target == "7"
    assert (options.threshold, options.window, options.max_tokens) == (1, 4, 1000)
    assert isinstance(options.max_tokens, int)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("temperature", 0),
        ("min_label_mass", 0.1),
        ("resamples", 2),
        ("deadline", 30),
        ("fps", 2),
        ("draft_frames", 8),
        ("draft_max_pixels", 1e5),
        ("min_step_tokens", 8),
        ("thinking_budget", 512),
        ("draft", "some/folder"),
        ("draft_dtype", "bfloat16"),
    ],
)
def test_a_model_argument_without_a_default_keeps_its_type(name: str, value: object) -> None:
    assert getattr(options_of({name: value}), name) == value


def test_a_confidence_of_the_draft_is_a_number() -> None:
    assert options_of({"gate": "cascade", "draft_confidence": 1}).draft_confidence == 1.0


def test_a_model_argument_that_is_a_list_takes_one_item() -> None:
    assert options_of({"stop": "END"}).stop == ("END",)
    assert options_of({"stop": 7}).stop == ("7",)


def test_each_option_takes_its_own_default() -> None:
    defaults = options_of({})
    for field in fields(RunOptions):
        assert options_of({field.name: getattr(defaults, field.name)}) == defaults


def test_a_method_keeps_its_draft_beside_other_runs_unless_asked() -> None:
    assert options_of({}) == RunOptions(load_aware=False)
    assert options_of({"load_aware": True}) == RunOptions()


def test_an_unknown_model_argument_lists_the_known_ones() -> None:
    with pytest.raises(
        BadOption, match=r"unknown model argument 'pretrained'; known: answer_marker, conc"
    ):
        options_of({"pretrained": "Qwen/Qwen3-VL-8B-Instruct"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 2),
        ("method", "magic"),
        ("window", "wide"),
        ("window", 1.5),
        ("temperature", "warm"),
        ("resamples", "none"),
    ],
)
def test_an_invalid_model_argument_is_one_line(name: str, value: object) -> None:
    with pytest.raises(BadOption) as caught:
        options_of({name: value})
    assert "\n" not in str(caught.value)
    with pytest.raises(BadOption, match="must be one of answer, text, not 'all'"):
        one_of("returns", "all", ("answer", "text"))


@pytest.mark.parametrize(
    ("asked", "batch", "number"), [(None, None, 1), (None, "auto", 1), (None, "8", 8), (4, 8, 4)]
)
def test_the_batch_size_is_how_many_run_at_once(asked: object, batch: object, number: int) -> None:
    assert concurrency_of(asked, batch) == number


@pytest.mark.parametrize("wrong", [0, "many", -1])
def test_concurrency_is_at_least_one(wrong: object) -> None:
    with pytest.raises(BadOption, match="at least 1"):
        concurrency_of(wrong, None)
