"""The reward term places: steps must name the right page, image, frame or time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.conversation import Conversation
from dreamr.evaluation.tasks import Item, Places
from dreamr.training import Rollout, SapoOptions, Scheme, figures
from dreamr.training.credit import credits
from support.attachments import asked, document, image, video
from support.rollouts import problem, rollout

BILL = asked(document(1, 2, 3))
CLIP = asked(video(5))
SCANS = asked(image(1), image(2))
ON_2, AT_3, IMAGE_2 = (
    Places(frozenset({2})),
    Places(times=((3.0, 4.0),)),
    Places(images=frozenset({2})),
)
ONLY = Scheme({"places": 1.0}, guards=())


def on_pages(*pages: int) -> Item:
    """Return a problem whose steps are about these pages, one after the other."""

    def step_places(position: int, text: str) -> Places | None:
        return Places(frozenset({pages[position]})) if position < len(pages) else None

    return replace(problem(BILL, Places(frozenset(pages))), step_places=step_places)


def worth(one: Rollout, scheme: Scheme = ONLY) -> float:
    return scheme.total(scheme.terms(one, [one]))


@pytest.mark.parametrize(
    ("conversation", "places", "steps", "value"),
    [
        (BILL, ON_2, ("Page 2: due 120.", "So 120."), 1.0),
        (BILL, ON_2, ("Page 1: due 120.", "So 120."), 0.0),
        (BILL, ON_2, ("Due 120.",), 0.5),
        (BILL, ON_2, ("Page 9: due 120.",), 0.0),
        (BILL, ON_2, ("On page 2.", "On page 2 again.", "On page 1."), 0.5),
        (BILL, ON_2, ("On page 2.", "On page 1.", "On page 1 again."), pytest.approx(1 / 3)),
        (BILL, ON_2, ("Pages 1-3.",), pytest.approx(1 / 3)),
        (BILL, Places(), ("On page 3.",), 0.5),
        (BILL, Places(), ("On page 4.",), 0.0),
        (BILL, Places(), ("On pages 3 and 4.",), 0.25),
        (CLIP, AT_3, ("At 0:03.2 the door opens.",), 1.0),
        (CLIP, AT_3, ("At 0:01 the door opens.",), 0.0),
        (CLIP, AT_3, ("At 12 s the door opens.",), 0.0),
        (CLIP, AT_3, ("In frame 4 the door opens.",), 1.0),
        (CLIP, AT_3, ("In frame 1 at 0:03 the door opens.",), 0.5),
        (CLIP, Places(), ("At 0:03 the door opens.",), 0.5),
        (CLIP, Places(), ("At 0:59 the door opens.",), 0.0),
        (SCANS, IMAGE_2, ("Image 2: 12.",), 1.0),
        (SCANS, IMAGE_2, ("Image 1: 12.",), 0.0),
        (SCANS, Places(), ("Image 3: 12.",), 0.0),
        (asked(image(1)), Places(), ("Page 1 at 0:01.",), 0.5),
        (BILL, ON_2, (), 0.5),
    ],
)
def test_right_places_earn_more_than_none_and_none_more_than_wrong_ones(
    conversation: Conversation, places: Places, steps: tuple[str, ...], value: float
) -> None:
    assert worth(rollout(steps, item=problem(conversation, places))) == value


def test_rollouts_are_ordered_by_the_places_that_they_name() -> None:
    item = on_pages(1, 2, 2)
    group = [
        rollout(steps, item=item)
        for steps in (
            ("Page 1: tea 4.", "Page 2: 4 x 3 = 12.", "Page 2: milk 7."),
            ("Page 1: tea 4.", "Page 2: 4 x 3 = 12.", "Page 1: milk 7."),
            ("Tea 4.", "4 x 3 = 12.", "Milk 7."),
            ("Page 2: tea 4.", "Page 1: 4 x 3 = 12.", "Page 2: milk 7."),
            ("Page 3: tea 4.", "Page 3: 4 x 3 = 12.", "Page 4: milk 7."),
        )
    ]
    found = [worth(one) for one in group]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    # Without the term, they are all the same to the draft.
    assert len({worth(one, Scheme()) for one in group}) == 1


def test_the_places_of_a_step_count_until_the_target_rejects_one() -> None:
    item = on_pages(1, 3, 1)
    steps = ("Page 1: a.", "Page 1: b.", "Page 3: c.")
    assert [set(each.values()) for each in rollout(steps, item=item).place_checks()] == [
        {True}, {False}, {False}
    ]  # fmt: skip
    rejected = rollout(steps, (0.9, 0.2, 0.9), item=item)
    assert [set(each.values()) for each in rejected.place_checks()] == [{True}, {False}, {True}]


def test_a_right_place_in_a_step_that_a_guard_catches_earns_nothing() -> None:
    guarded = Scheme({"places": 1.0})
    item = problem(BILL, ON_2)
    begun = rollout(("Page 2.",), item=item, finished=False)
    assert worth(begun) == 1.0
    assert worth(begun, guarded) == 0.5
    assert worth(rollout(("Page 1.",), item=item, finished=False), guarded) == 0.0


texts = st.builds(
    "{} {}: {}.".format,
    st.sampled_from(["Page", "Frame", "Image", "At 0:0", "So"]),
    st.integers(0, 7),
    st.integers(0, 2),
)


@given(st.lists(texts, max_size=6), st.sampled_from([BILL, CLIP, SCANS]), st.booleans())
def test_the_term_is_bounded_and_repeating_a_step_never_raises_it_beyond_the_right_share(
    steps: list[str], conversation: Conversation, known: bool
) -> None:
    right = Places(frozenset({2}), ((3.0, 3.0),), frozenset({2})) if known else Places()
    item = problem(conversation, right)
    value = worth(rollout(steps, item=item))
    assert 0.0 <= value <= 1.0
    assert known or value <= 0.5
    for step in steps:
        assert worth(rollout([*steps, step], item=item)) <= value


def test_with_step_credit_the_step_that_names_a_wrong_page_is_blamed() -> None:
    item = on_pages(1, 2)
    right = rollout(("Page 1: tea 4.", "Page 2: 4 x 3 = 12."), item=item)
    wrong = rollout(("Page 1: tea 4.", "Page 3: 4 x 3 = 12."), item=item)
    off = credits([right, wrong], Scheme({"draft": 1.0}, guards=()))
    assert off == [[0.0, 0.0], [0.0, 0.0]]
    scheme = Scheme({"draft": 1.0, "places": 0.5}, guards=())
    assert credits([right, wrong], scheme) == [[0.0, 0.25], [0.0, -0.25]]


def test_the_figures_of_a_batch_say_how_often_places_are_named_and_wrong() -> None:
    item = problem(BILL, ON_2)
    found = figures([rollout(("Page 2.", "Page 1.", "So 3.", "Page 9 and page 2."), item=item)])
    assert (found["places"], found["wrong_places"]) == (0.75, 0.5)
    empty = figures([rollout((), item=item)])
    assert (empty["places"], empty["wrong_places"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("1:1:1", {"outcome": 1, "draft": 1, "length": 1}),
        ("1:1:1:0.5", {"outcome": 1, "draft": 1, "length": 1, "places": 0.5}),
        ("outcome=1,places=0", {"outcome": 1, "places": 0}),
    ],
)
def test_the_term_is_off_unless_it_has_a_weight(text: str, weights: dict[str, float]) -> None:
    assert SapoOptions(weights=text).scheme().weights == weights
