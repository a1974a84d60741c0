"""The example of a reward term: the steps must name the right page, frame or time."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr._plugins import import_plugins
from dreamr.conversation import Conversation
from dreamr.evaluation.tasks import Places
from dreamr.training import Scheme
from support.attachments import asked, document, image, video
from support.rollouts import problem, rollout

EXAMPLE = Path(__file__).parents[2] / "examples" / "media_reward.py"
BILL = asked(document(1, 2, 3))
CLIP = asked(video(5))
ON_2, AT_3 = Places(frozenset({2})), Places(times=((3.0, 4.0),))


@pytest.fixture(autouse=True)
def term() -> None:
    import_plugins(str(EXAMPLE))  # a second time changes nothing


def worth(conversation: Conversation, places: Places, *steps: str) -> float:
    one = rollout(steps, item=problem(conversation, places))
    scheme = Scheme(weights={"right_place": 1.0})
    return scheme.total(scheme.terms(one, [one]))


@pytest.mark.parametrize(
    ("conversation", "places", "steps", "value"),
    [
        (BILL, ON_2, ("Page 2: due 120.", "So 120."), 1.0),
        (BILL, ON_2, ("Page 1: due 120.", "So 120."), 0.0),
        (BILL, ON_2, ("Due 120.",), 0.0),
        (BILL, ON_2, ("Page 9: due 120.",), 0.0),
        (BILL, ON_2, ("On page 2.", "On page 2 again.", "On page 1."), 0.5),
        (BILL, ON_2, ("Pages 1-3.",), pytest.approx(1 / 3)),
        (BILL, Places(), ("On page 3.",), 1.0),
        (BILL, Places(), ("On page 4.",), 0.0),
        (CLIP, AT_3, ("At 0:03.2 the door opens.",), 1.0),
        (CLIP, AT_3, ("At 0:01 the door opens.",), 0.0),
        (CLIP, AT_3, ("In frame 4 the door opens.",), 1.0),
        (CLIP, AT_3, ("In frame 1 at 0:03 the door opens.",), 0.5),
        (asked(image(1)), Places(), ("Page 1 at 0:01.",), 0.0),
    ],
)
def test_only_the_right_places_earn(
    conversation: Conversation, places: Places, steps: tuple[str, ...], value: float
) -> None:
    assert worth(conversation, places, *steps) == value


def test_naming_nothing_or_everything_earns_less_than_naming_the_right_page() -> None:
    right = worth(BILL, ON_2, "Page 2: due 120.")
    assert right > worth(BILL, ON_2, "Pages 1, 2 and 3: due 120.") > worth(BILL, ON_2, "Due 120.")
