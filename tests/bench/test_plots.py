"""Pictures: there is one for each thing to show, and the names in it can be read."""

import io
from dataclasses import replace
from itertools import combinations

import pytest
from made_samples import make_samples
from matplotlib.text import Text
from PIL import Image

from dreamr.bench._figures import figures
from dreamr.bench._plots import Theme, _Board, _speedup_accuracy, _style, chosen, draw, looks

SAMPLES = make_samples(6)


def test_each_figure_has_its_picture():
    pictures = draw(figures(SAMPLES), SAMPLES)
    assert set(pictures) == {"speedup-accuracy", "speedup-tasks", "acceptance", "steps", "latency"}
    assert all(min(Image.open(io.BytesIO(png)).size) > 300 for png in pictures.values())


def test_problems_side_by_side_have_a_picture_of_their_own():
    samples = make_samples(2, concurrencies=(1, 4))
    assert "concurrency" in draw(figures(samples), samples)


def test_what_there_is_nothing_to_draw_of_is_not_drawn():
    samples = make_samples(2, methods=("target",))
    assert set(draw(figures(samples), samples)) == {"speedup-accuracy", "latency"}
    assert draw(figures([]), []) == {}


def test_pictures_for_dark_pages_are_dark():
    samples = make_samples(2, methods=("target", "fpsr"))
    for is_dark in (False, True):
        png = draw(figures(samples), samples, dark=is_dark)["latency"]
        brightness = Image.open(io.BytesIO(png)).convert("L").getpixel((1, 1))
        assert (brightness < 60) == is_dark


def crowd():
    """A dozen methods of nearly the same speed and accuracy."""
    samples = make_samples(6, methods=("target", "fpsr"))
    for at in range(12):
        factor = 1 + 0.01 * at
        samples += [
            replace(s, method=f"fpsr-w{at}", seconds=s.seconds * factor)
            for s in samples
            if s.method == "fpsr"
        ]
    return samples


@pytest.mark.parametrize("samples", [SAMPLES, crowd()], ids=["standard", "crowd"])
def test_names_do_not_lie_on_each_other(samples):
    board = _Board(figures(samples), samples, Theme())
    with _style(board.theme):
        axis = _speedup_accuracy(board).axes[0]
        boxes = [Text.get_window_extent(text) for text in axis.texts]  # without its line
    assert len(boxes) >= 6
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_a_family_has_one_colour_and_its_members_differ():
    found = looks(["fpsr", "fpsr-w4", "sequential", "specreason-7"], Theme())
    assert found["fpsr"].colour == found["fpsr-w4"].colour != found["sequential"].colour
    assert found["fpsr"].marker != found["fpsr-w4"].marker
    assert found["fpsr"].line != found["fpsr-w4"].line


def test_methods_look_the_same_whoever_else_takes_part():
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
def test_the_method_to_look_at_is_fpsr_or_the_last_that_drafts(methods, expected):
    assert chosen(figures([replace(s, method=m) for m in methods for s in SAMPLES[:1]])) == expected
