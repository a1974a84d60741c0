"""The log has one line per record, whatever the texts in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.gateway.logs import configure_log, log
from dreamr.serving.options import ServeOptions


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(text: str, **options: object) -> str:
    stream = io.StringIO()
    configure_log(ServeOptions(**options), stream)  # type: ignore[arg-type]
    log(logging.INFO, "%s from a client", text, client=text)
    return stream.getvalue()


@given(st.text(max_size=300))
def test_a_record_is_one_printable_line(text: str) -> None:
    line = written(text)
    assert line.endswith("from a client\n")
    assert line[:-1].isprintable()


@given(st.text(max_size=300))
def test_a_record_is_one_json_object(text: str) -> None:
    line = written(text, log_format="json")
    assert len(line.splitlines()) == 1
    values = json.loads(line)
    assert values["client"] == text
    assert values["message"] == f"{text} from a client"
    assert values["level"] == "info"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_part_of_its_line(form: str) -> None:
    stream = io.StringIO()
    configure_log(ServeOptions(log_format=form), stream)  # type: ignore[arg-type]
    try:
        raise RuntimeError("one\ntwo")
    except RuntimeError:
        logging.getLogger("dreamr.serving.gateway").exception("internal error")
    assert stream.getvalue().count("\n") == 1
    assert "Traceback" in stream.getvalue()


def test_records_below_the_level_are_left_out() -> None:
    assert written("a text", log_level="warning") == ""
    assert "DEBUG" not in written("a text", log_level="debug")


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    configure_log(ServeOptions(), Full())
    log(logging.INFO, "lost")
    assert capsys.readouterr().err == ""
