"""Plots: one for each kind of data, with readable labels."""

import io
from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.text import Text
from PIL import Image

from dreamr.evaluation.report.aggregate import figures
from dreamr.evaluation.report.canvas import PlotData, style
from dreamr.evaluation.report.plots import draw
from dreamr.evaluation.report.speed_plots import risk, speedup_accuracy, speedup_tasks
from dreamr.evaluation.report.step_plots import acceptance, chosen, step_lengths
from dreamr.evaluation.report.theme import Theme, looks
from dreamr.evaluation.report.time_plots import concurrency, latency
from support.samples import make_samples

SAMPLES = make_samples(3)


def test_each_plot_is_an_image():
    samples = make_samples(2, tasks=("vqa",))
    images = draw(figures(samples), samples)
    alone = {"speedup-accuracy", "risk", "speedup-tasks", "acceptance", "steps", "latency"}
    assert set(images) == alone
    assert all(min(Image.open(io.BytesIO(png)).size) > 300 for png in images.values())


def data_of(samples, dark=False):
    return PlotData(figures(samples), samples, Theme(dark))


def test_plots_without_data_are_not_drawn():
    data = data_of(make_samples(2, methods=("target",)))
    nothing = (speedup_tasks, acceptance, step_lengths, concurrency)
    assert [paint(data) for paint in nothing] == [None] * 4
    assert draw(figures([]), []) == {}


def test_concurrent_problems_have_a_plot():
    axes = concurrency(data_of(make_samples(1, concurrencies=(1, 4)))).axes
    assert {tuple(line.get_xdata()) for axis in axes for line in axis.lines} == {(1, 4)}


@pytest.mark.parametrize("paint", [speedup_accuracy, risk])
def test_a_title_with_many_tasks_stays_within_the_figure(paint):
    tasks = ("pages", "clip", "docmath-hard:1", "story-hard:1", "vqa-hard:1")
    samples = make_samples(2, tasks=("vqa",))
    data = data_of([replace(sample, task=task) for task in tasks for sample in samples])
    with style(data.theme):
        figure = paint(data)
        figure.draw_without_rendering()
    (title,) = (t for t in figure.findobj(Text) if t.get_text().startswith("Speed-up and"))
    assert all(task in title.get_text() for task in tasks)  # and none is split
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("dark", [False, True])
def test_images_for_dark_pages_are_dark(dark):
    data = data_of(make_samples(1, methods=("target", "fpsr")), dark)
    with style(data.theme):
        figure = latency(data)
    assert (max(figure.get_facecolor()[:3]) < 0.3) == dark


def close_together():
    """Return samples of a dozen methods of nearly equal speed and accuracy."""
    samples = make_samples(3, methods=("target", "fpsr"))
    for at in range(12):
        factor = 1 + 0.01 * at
        samples += [
            replace(s, method=f"fpsr-w{at}", seconds=s.seconds * factor)
            for s in samples
            if s.method == "fpsr"
        ]
    return samples


@pytest.mark.parametrize("samples", [SAMPLES, close_together()], ids=["standard", "close together"])
def test_names_do_not_lie_on_each_other(samples):
    data = data_of(samples)
    with style(data.theme):
        axis = speedup_accuracy(data).axes[0]
        boxes = [Text.get_window_extent(text) for text in axis.texts]  # without its line
    assert len(boxes) >= 6
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_family_has_one_color_and_its_members_differ():
    found = looks(["fpsr", "fpsr-w4", "sequential", "specreason-7"], Theme())
    assert found["fpsr"].color == found["fpsr-w4"].color != found["sequential"].color
    assert found["fpsr"].marker != found["fpsr-w4"].marker
    assert found["fpsr"].line != found["fpsr-w4"].line


def test_the_look_of_a_method_does_not_depend_on_other_methods():
    few, many = (looks(names, Theme()) for names in (["fpsr"], ["draft", "fpsr", "parse"]))
    assert few["fpsr"] == many["fpsr"]


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (("target", "fpsr", "parse"), "fpsr"),
        (("target", "sequential"), "sequential"),
        (("target", "draft"), None),
    ],
)
def test_the_method_shown_in_detail_is_fpsr_or_the_last_with_a_draft(methods, expected):
    assert chosen(figures([replace(s, method=m) for m in methods for s in SAMPLES[:1]])) == expected
