from __future__ import annotations

from pathlib import Path

from dreamr._option_specs import option_specs
from dreamr._options import RunOptions
from dreamr.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_the_page_about_the_command_line_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run scripts/docs"


def test_the_page_names_every_option() -> None:
    page = reference()
    for name in option_specs(RunOptions):
        assert f"`--{name.replace('_', '-')}" in page
        assert f"`DREAMR_{name.upper()}`" in page
