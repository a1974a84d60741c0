"""Reading the folder of a bench and writing its report."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dreamr import RunOptions
from dreamr.errors import DreamrError, Unsupported, Unwritable
from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.page import (
    ReportError,
    flat,
    load_provenance,
    load_results,
    load_samples,
    markdown,
    render,
    write_file,
    write_report,
)
from dreamr.evaluation.report.results import Results
from dreamr.evaluation.simulator import ideal_seconds
from support.samples import make_samples, write_folder

SAMPLES = make_samples(4)
SMALL = make_samples(2, methods=("target", "fpsr"), tasks=("vqa",))
STORY_WITHOUT_TARGET = make_samples(2, methods=("fpsr",), tasks=("story",))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "bench", SAMPLES)


def test_samples_are_read_as_they_were_written(folder):
    assert load_samples(folder) == SAMPLES


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_an_incomplete_last_line_is_skipped(folder, cut):
    path = folder / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:-cut].rstrip(b"\n"))
    expected = SAMPLES if cut == 1 else SAMPLES[:-1]
    assert load_samples(folder) == expected


def test_a_last_line_cut_inside_a_character_is_skipped(folder):
    with (folder / "samples.jsonl").open("ab") as file:
        file.write('{"task": "é'.encode()[:-1])
    assert load_samples(folder) == SAMPLES


def test_an_invalid_line_before_the_last_is_reported(folder):
    path = folder / "samples.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], lines[1][:50], *lines[2:]]))
    with pytest.raises(ReportError, match=r"line 2 is not a sample"):
        load_samples(folder)


def test_the_later_sample_of_a_problem_counts(folder):
    later = SAMPLES[0].to_json() | {"answer": "later"}
    with (folder / "samples.jsonl").open("a") as file:
        file.write(json.dumps(later) + "\n")
    found = load_samples(folder)
    assert len(found) == len(SAMPLES)
    assert found[0].answer == "later"


def test_a_missing_folder_is_a_one_line_error(tmp_path):
    with pytest.raises(DreamrError, match=r"not the folder of a bench .*`dreamr bench run`"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "\n", '{"task": "vq'])
def test_a_bench_without_finished_problems_is_reported_in_one_line(tmp_path, content):
    (tmp_path / "samples.jsonl").write_text(content)
    with pytest.raises(ReportError, match="contains no samples yet"):
        write_report(tmp_path)


def test_broken_provenance_is_one_clear_line(folder):
    (folder / "provenance.json").write_text("{")
    with pytest.raises(ReportError, match=r"provenance\.json, line 1: not valid JSON"):
        write_report(folder)


def test_a_broken_configuration_is_one_clear_line(folder):
    (folder / "config.yaml").write_text("seed: 0\ntasks: [vqa")
    with pytest.raises(ReportError, match=r"config\.yaml, line 2: not valid YAML$"):
        write_report(folder)


def test_a_folder_with_only_samples_has_a_page(folder):
    (folder / "config.yaml").unlink()
    (folder / "provenance.json").unlink()
    assert "No configuration was recorded" in page_of(SAMPLES, folder=folder)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("bench"), SMALL)
    return folder, write_report(folder)


def test_the_report_is_written_next_to_the_samples(reported):
    folder, page = reported
    names = {path.name for path in folder.iterdir()}
    assert page == folder / "report.html"
    assert {"results.json", "speedup-accuracy.png", "latency.png"} <= names
    assert not [name for name in names if name.endswith(".part")]
    assert load_results(folder) == figures(SMALL, ideal_seconds(SMALL))


def test_efficiency_is_that_of_a_replay_with_the_options_of_the_bench(tmp_path):
    config = "tasks: [vqa]\noptions: {final_answer: draft, gate: of another version}\n"
    folder = write_folder(tmp_path, SMALL, config)
    write_report(folder)
    options = RunOptions(final_answer="draft")
    assert load_results(folder) == figures(SMALL, ideal_seconds(SMALL, options))
    assert load_results(folder) != figures(SMALL, ideal_seconds(SMALL))


def test_invalid_options_in_a_configuration_are_one_clear_line(tmp_path):
    folder = write_folder(tmp_path, SMALL, "options: {window: 0}\n")
    with pytest.raises(ReportError, match=r"config\.yaml: --window must be at least 1"):
        write_report(folder)


def test_results_contain_their_setup(reported):
    content = json.loads((reported[0] / "results.json").read_text())
    assert content["config"]["seed"] == 0
    assert content["provenance"][0]["commit"] == "0123456789abcdef"
    assert Results.from_json(content).tasks == ("vqa",)


def test_a_report_without_its_extra_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Unsupported, match=r"need matplotlib.*pip install 'dreamr\[bench\]'"):
        write_report(folder)


def test_importing_the_report_needs_no_extra():
    heavy = "{'matplotlib', 'jinja2', 'yaml', 'torch'} & set(sys.modules)"
    code = f"import sys, dreamr.evaluation.report; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_invalid_results_file_is_a_one_line_error(folder):
    (folder / "results.json").write_text('{"figures": [{"task": "vqa"}]}')
    with pytest.raises(ReportError, match="not a results file"):
        load_results(folder)


def test_a_file_that_cannot_be_replaced_is_unchanged(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("before")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Unwritable, match="No space left on device"):
        write_file(path, b"after")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]


class Page(HTMLParser):
    """Parser that collects unclosed tags and loaded URLs."""

    VOID = frozenset({"meta", "img", "source", "br", "link", "rect", "line", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.wrong = [], [], []

    def handle_starttag(self, tag, attrs):
        self.loads += [v for k, v in attrs if k in ("src", "srcset")]
        self.loads += [v for k, v in attrs if k == "href" and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in self.VOID and self.open.pop() != tag:
            self.wrong.append(tag)


def page_of(samples, **changes):
    provenance = load_provenance(changes.pop("folder"))
    return render(figures(samples), samples, provenance, {"latency": (b"light", b"dark")})


def test_the_page_is_well_formed_and_loads_nothing(folder):
    page = Page()
    page.feed(page_of(SAMPLES, folder=folder))
    assert (page.open, page.wrong) == ([], [])
    assert page.loads
    assert all(address.startswith("data:image/png;base64,") for address in page.loads)


def test_the_page_contains_the_setup(folder):
    text = page_of(SAMPLES, folder=folder)
    assert "python -m dreamr bench run --limit 20" in text
    assert "packages.torch" in text


def test_texts_of_models_and_files_are_escaped(folder):
    (folder / "config.yaml").write_text('note: "<script>alert(1)</script>"\n')
    samples = [s.from_json(s.to_json() | {"kind": "<b>bold</b>"}) for s in SAMPLES]
    text = page_of(samples, folder=folder)
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold" in text


def test_caveats_are_listed_before_the_figures(folder):
    samples = [s for s in SAMPLES if not (s.method == "target" and s.index == 0)]
    text = page_of(samples, folder=folder)
    assert "1 of 4 problems were not run with the target alone" in text


def test_reasons_of_failed_runs_are_listed_once_with_their_number(folder):
    text = page_of(lost(SAMPLES, "fpsr"), folder=folder)
    count = sum(s.method == "fpsr" and s.task == "vqa" for s in SAMPLES)
    assert text.count(f"fpsr on vqa, concurrency 1: {count} failed: the image is too large") == 1


def lost(samples, method):
    changes = {"finish": "failed", "right": False, "tokens": 0, "steps": 0, "spans": ()}
    changes["error"] = "the image is too large"
    return [replace(s, **changes) if s.method == method else s for s in samples]


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([*SMALL, *STORY_WITHOUT_TARGET], id="a task that the target has not run"),
        pytest.param(lost(SMALL, "fpsr"), id="a method that failed"),
        pytest.param(lost(SMALL, "target"), id="a target that failed"),
    ],
)
def test_an_unfinished_bench_has_a_complete_report(tmp_path, samples):
    folder = write_folder(tmp_path / "bench", samples)
    text = write_report(folder).read_text()
    assert set(load_results(folder).methods) == {"target", "fpsr"}
    assert "fpsr on " in text


def test_runs_that_cannot_be_replayed_are_a_caveat(folder):
    samples = lost(SMALL, "fpsr")
    assert "fpsr on vqa, concurrency 1: no run can be replayed" in page_of(samples, folder=folder)
    results = figures(SMALL, ideal_seconds(SMALL))
    text = render(results, SMALL, load_provenance(folder), {})
    assert "can be replayed" not in text


def test_a_bench_of_one_method_or_one_task_has_a_page(folder):
    for samples in (
        make_samples(2, methods=("target",)),
        make_samples(2, methods=("fpsr",)),
        make_samples(2, tasks=("vqa",)),
        make_samples(1, concurrencies=(4, 16)),
    ):
        text = page_of(samples, folder=folder)
        assert "Glossary" in text


def test_the_markdown_holds_the_mean_and_each_task(folder):
    text = markdown(figures(SAMPLES), load_provenance(folder))
    assert re.findall(r"\*\*(\w+)\*\*", text) == ["mean", "docmath", "story", "vqa"]
    assert "commit 0123456789" in text


def test_nested_values_become_lines():
    values = {"options": {"window": 8, "device": None}, "tasks": ["a", "b"]}
    assert list(flat(values)) == [
        ("options.window", "8"),
        ("options.device", "none"),
        ("tasks", "a, b"),
    ]
