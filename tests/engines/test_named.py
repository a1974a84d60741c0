"""Models that installed distributions provide under a name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from dreamr.engines import model_names
from dreamr.engines.named import locate
from dreamr.errors import ModelNotFound


def somewhere(role: str) -> str:
    return f"http://models.example/{role}"


def nowhere(role: str) -> str:
    raise RuntimeError(f"no {role} on this disk")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "ours": [f"{__name__}:somewhere"],
        "lost": [f"{__name__}:nowhere"],
        "broken": ["no_such_module:pair"],
        "twin": ["one:pair", "two:pair"],
    }
    points = EntryPoints(
        EntryPoint(name, value, "dreamr.models")
        for name, values in given.items()
        for value in values
    )
    monkeypatch.setattr(
        "dreamr._plugins._entry_points", lambda group, path: points.select(group=group)
    )


def test_a_name_leads_to_the_model_of_its_role() -> None:
    assert model_names() == ("broken", "lost", "ours", "twin")
    assert locate("ours", "target") == "http://models.example/target"
    assert locate("ours", "draft") == "http://models.example/draft"


@pytest.mark.parametrize("name", ["Qwen/Qwen3-VL-8B-Instruct", "./ours", "http://gpu:8000/v1"])
def test_any_other_name_stays_as_it_is(name: str) -> None:
    assert locate(name, "draft") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lost", "'lost' cannot be found: .*no draft on this disk"),
        ("broken", "'broken' of .*no_such_module:pair.* cannot be imported"),
        ("twin", "'twin' is provided by .*one:pair.* and .*two:pair.*: uninstall all but one"),
    ],
)
def test_a_distribution_that_cannot_be_used_is_one_line(name: str, reason: str) -> None:
    with pytest.raises(ModelNotFound, match=rf"^model {reason}") as found:
        locate(name, "draft")
    assert "\n" not in str(found.value)


def test_without_the_test_bed_a_model_must_be_named() -> None:
    with pytest.raises(
        ModelNotFound, match=r"no target model is given .* pip install 'dreamr\[testbed\]'"
    ):
        locate(None, "target")
