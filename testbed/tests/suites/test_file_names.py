"""Names of files are those of PDF files, and a problem keeps its name."""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites import make_problem
from dreamr_testbed.suites.file_names import draw_file_name, with_file_name


def test_names_are_those_of_pdf_files_and_differ() -> None:
    names = {draw_file_name(Random(seed)) for seed in range(200)}
    assert len(names) > 100
    assert all(name.endswith(".pdf") and name.isascii() for name in names)


def test_a_problem_gets_the_same_name_again_and_others_another() -> None:
    first, again, other = (
        with_file_name(make_problem("pages", "test", index, 1)) for index in (3, 3, 4)
    )
    assert first.file == again.file != other.file
