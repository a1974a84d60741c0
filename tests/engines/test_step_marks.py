"""How a model's texts are read: by options, by its folder or template, by its family."""

from __future__ import annotations

from typing import Any

import pytest

from dreamr import BadOption
from dreamr._families import recognize
from dreamr.engines import ModelSource
from dreamr.engines.open import _step_format
from dreamr.steps import StepFormat


def marks(name: str, known: dict[str, Any] | None = None, **given: Any) -> StepFormat:
    source = ModelSource(role="target", name=name, **given)
    return _step_format(source, recognize(name), known or {})


@pytest.mark.parametrize(
    ("name", "opens", "least"),
    [
        ("embedded", False, 1),
        ("Qwen/Qwen3-VL-8B-Thinking", True, 8),
        ("Qwen/Qwen3.5-27B", False, 8),
        ("google/gemma-4-E4B-it", False, 8),
        ("Qwen/Qwen3-VL-8B-Instruct", False, 1),
        ("unheard-of", False, 1),
        ("unheard-of", True, 8),
    ],
)
def test_models_that_may_think_have_no_short_steps(name: str, opens: bool, least: int) -> None:
    assert marks(name, {"opens_thought": opens}).min_tokens == least
    assert marks(name, {"opens_thought": opens}, min_step_tokens=3).min_tokens == 3


def test_options_come_before_the_models_folder_which_comes_before_the_family() -> None:
    folder = {"delimiter": "\n", "answer_marker": "Final:"}
    assert marks("embedded").delimiter == "\n\n"
    assert marks("embedded", folder).delimiter == "\n"
    assert marks("embedded", folder, delimiter="###").delimiter == "###"
    assert marks("embedded", folder).answer_marker == "Final:"
    assert marks("embedded", folder, answer_marker="So:").answer_marker == "So:"


def test_a_family_may_close_its_thoughts_with_a_sentence() -> None:
    closing = marks("Qwen/Qwen3-8B").closing
    assert closing is not None
    assert closing.startswith("Considering the limited time by the user, I have to give the ")
    assert closing.endswith(".\n</think>\n\n")
    assert marks("zai-org/GLM-4.6V-Flash").closing is None


def test_a_delimiter_in_the_answer_marker_is_refused_with_both_flags() -> None:
    with pytest.raises(BadOption, match=r"^--delimiter, --answer-marker: the answer marker must"):
        marks("embedded", delimiter=":")
