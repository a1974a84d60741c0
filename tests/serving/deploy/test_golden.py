"""The files of some deployments are those that were reviewed.

To update them, run `python tests/serving/deploy/test_golden.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import FORMATS, Format, deployment_files

HERE = Path(__file__).parent
REVIEWED: list[tuple[str, Format]] = [
    *(("started", form) for form in FORMATS),
    ("servers", "compose"),
    ("servers", "ray"),
    *(("replicas", form) for form in FORMATS if form != "ray"),
]


def joined(pair: str, form: Format) -> str:
    """Return the files of a deployment in one text, without the dashboard."""
    file = read_pair_file(HERE / "pairs" / f"{pair}.yaml", environment={}, needs_secrets=False)
    files = deployment_files(file, form)
    parts = [f"=== {name}\n{text}" for name, text in files.items() if not name.endswith(".json")]
    return "\n".join(parts).replace(str(HERE), "/work")


def golden(pair: str, form: Format) -> Path:
    return HERE / "golden" / f"{pair}.{form}.txt"


@pytest.mark.parametrize(("pair", "form"), REVIEWED)
def test_files_are_those_that_were_reviewed(pair: str, form: Format) -> None:
    assert joined(pair, form) == golden(pair, form).read_text(encoding="utf-8")


if __name__ == "__main__":
    for one in REVIEWED:
        golden(*one).parent.mkdir(exist_ok=True)
        golden(*one).write_text(joined(*one), encoding="utf-8")
