"""Comparison of benches: figures, differences, and differences in setup."""

import io
import json

import pytest
from rich.console import Console

from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.comparison import compare, differences, load_bench
from dreamr.evaluation.report.page import ReportError
from support.samples import make_samples, write_folder

SAMPLES = make_samples(3, methods=("target", "sequential", "fpsr"))


def shown(folders, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(compare(folders))
    return console.file.getvalue()


def row(text, *cells):
    return next(line for line in text.split("\n") if line.split()[:2] == list(cells))


def test_a_bench_does_not_differ_from_itself(tmp_path):
    folder = write_folder(tmp_path / "a", SAMPLES)
    text = shown([folder, folder])
    assert "(+0.0)" in row(text, "mean", "fpsr")
    assert differences([load_bench(folder)] * 2) == []


def test_differences_are_to_the_first(tmp_path):
    first = write_folder(tmp_path / "a", SAMPLES)
    wrong = [s.from_json(s.to_json() | {"right": False}) for s in SAMPLES]
    other = write_folder(tmp_path / "b", wrong)
    assert "(-100.0)" in row(shown([first, other]), "vqa", "target")
    assert "(+100.0)" in row(shown([other, first]), "vqa", "target")


def test_other_problems_are_listed(tmp_path):
    first = write_folder(tmp_path / "a", SAMPLES)
    other = write_folder(tmp_path / "b", [s for s in SAMPLES if s.index < 2])
    text = shown([first, other])
    assert f"6 problems; {first} has 9, and 6 are in both" in " ".join(text.split())


def test_another_configuration_is_listed(tmp_path):
    first = write_folder(tmp_path / "a", SAMPLES, config="options:\n  window: 4\n")
    other = write_folder(tmp_path / "b", SAMPLES, config="options:\n  window: 8\n")
    assert f"{other}: options.window is 8; in {first} it is 4" in shown([first, other])


def test_a_bench_without_samples_is_compared_by_its_results(tmp_path):
    first = write_folder(tmp_path / "a", SAMPLES)
    (first / "results.json").write_text(json.dumps(figures(SAMPLES).to_json()))
    whole = row(shown([first]), "mean", "fpsr")
    (first / "samples.jsonl").unlink()
    assert row(shown([first]), "mean", "fpsr") == whole
    assert "no samples" in " ".join(shown([first, first]).split())


def test_methods_that_only_one_bench_has_are_shown(tmp_path):
    first = write_folder(tmp_path / "a", make_samples(2, methods=("target",)))
    other = write_folder(tmp_path / "b", make_samples(2, methods=("target", "fpsr")))
    assert " - " in row(shown([first, other]), "vqa", "fpsr")


def test_names_of_folders_are_not_markup(tmp_path):
    folder = write_folder(tmp_path / "[red]a", SAMPLES)
    assert "[red]a" in shown([folder], width=300)


def test_a_folder_without_a_bench_and_no_folder_are_one_line_errors(tmp_path):
    with pytest.raises(ReportError, match="not the folder of a bench"):
        compare([tmp_path])
    with pytest.raises(ReportError, match="name the folders"):
        compare([])
