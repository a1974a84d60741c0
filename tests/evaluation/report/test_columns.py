"""Formats of figures and tables."""

import pytest

from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.columns import (
    GLOSSARY,
    HEADLINE,
    TextTable,
    percent,
    seconds,
    table,
    times,
)
from dreamr.evaluation.report.results import MEAN
from dreamr.evaluation.report.statistics import Estimate
from support.samples import make_samples


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00049, "0.49 ms"),
        (0.0482, "48.2 ms"),
        (0.3104, "310 ms"),
        (0.9999, "1.00 s"),
        (4.026, "4.03 s"),
        (None, ""),
    ],
)
def test_times_have_three_digits_and_a_unit(value, text):
    assert seconds(value) == text


def test_an_interval_follows_its_figure():
    assert times(Estimate(1.924, 1.88, 1.953)) == "1.92 [1.88, 1.95]"
    assert percent(Estimate(0.972, 0.95, 0.985)) == "97.2 [95.0, 98.5]"
    assert times(None) == ""


def test_empty_columns_are_left_out():
    found = figures(make_samples(3)).of(MEAN, 1)
    heads = table(found, HEADLINE).heads
    assert "speed-up" in heads
    assert "efficiency %" not in heads


def test_markdown_has_as_many_cells_in_each_line():
    lines = table(figures(make_samples(3)).of(MEAN, 1), HEADLINE).markdown.split("\n")
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1].startswith("| --- | ---: |")


def test_markdown_is_that_of_github():
    assert TextTable(("a", "b"), (("x", "1"),)).markdown == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_every_column_is_explained_once():
    titles = [column.title for column in GLOSSARY]
    assert len(set(titles)) == len(titles)
    assert all(column.meaning for column in GLOSSARY)
