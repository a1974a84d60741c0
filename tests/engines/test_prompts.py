"""Judge prompts of models that are known by their name only."""

from __future__ import annotations

from dataclasses import replace

from dreamr_testbed import PAIR

from dreamr.engines.local.options import read_hints
from dreamr.engines.prompts import Questions, questions_for


def test_the_bundled_pair_is_asked_over_http_what_its_folder_says() -> None:
    hints = read_hints(PAIR / "target")
    questions = questions_for(str(PAIR / "target"))
    assert questions == hints.questions()


def test_a_prompt_of_the_user_replaces_the_question_about_a_step_only() -> None:
    own = questions_for("dreamr-target", "Right?")
    assert own == replace(questions_for("dreamr-target"), verdict="Right?")
    assert questions_for("gpt-oss-20b", "Right?") == Questions(verdict="Right?")
