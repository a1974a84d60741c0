"""The files of a batch: what is written stays, and is found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dreamr.serving.batch import BatchError, BatchOptions, Journal
from dreamr.serving.batch.lines import answer_line, error_line

pytestmark = pytest.mark.anyio
BODY = {"id": "chatcmpl-1"}
ANSWER = answer_line("x", "d1", BODY)
ERROR = error_line("y", "d2", "too_long", "the prompt is too long", 400)


def options(tmp_path: Path, *, retry: bool = False) -> BatchOptions:
    return BatchOptions(requests=tmp_path / "r.jsonl", out=tmp_path / "a.jsonl", retry=retry)


async def fill(found: BatchOptions) -> None:
    with Journal(found) as journal:
        await journal.add_answer("x", "d1", ANSWER)
        await journal.add_error("y", ERROR)


async def test_answers_and_errors_are_found_again(tmp_path: Path) -> None:
    await fill(options(tmp_path))
    with Journal(options(tmp_path)) as journal:
        assert journal.answered == {"x": "d1"}
        assert journal.failed == {"y"}


async def test_an_answer_has_the_fields_of_openais_format(tmp_path: Path) -> None:
    await fill(options(tmp_path))
    line = json.loads((tmp_path / "a.jsonl").read_text())
    assert line == {
        "id": "batch_req_d1",
        "custom_id": "x",
        "response": {"status_code": 200, "request_id": "chatcmpl-1", "body": BODY},
        "error": None,
    }
    error = json.loads((tmp_path / "a.errors.jsonl").read_text())
    assert error["response"] == {"status_code": 400}
    assert error["error"] == {"code": "too_long", "message": "the prompt is too long"}


async def test_without_errors_there_is_no_file_of_errors(tmp_path: Path) -> None:
    with Journal(options(tmp_path)) as journal:
        await journal.add_answer("x", "d1", ANSWER)
    assert not (tmp_path / "a.errors.jsonl").exists()


@pytest.mark.parametrize("cut", range(1, 40, 7))
async def test_half_a_line_of_a_killed_process_is_removed(cut: int, tmp_path: Path) -> None:
    await fill(options(tmp_path))
    path = tmp_path / "a.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut])
    with Journal(options(tmp_path)) as journal:
        assert journal.answered == {"x": "d1"}
    assert path.read_bytes() == whole


async def test_with_retry_requests_that_failed_count_as_not_sent(tmp_path: Path) -> None:
    await fill(options(tmp_path))
    with Journal(options(tmp_path, retry=True)) as journal:
        assert journal.answered == {"x": "d1"}
        assert not journal.failed


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("name", ["a.jsonl", "a.errors.jsonl"])
@pytest.mark.parametrize("end", ["\n", ""])
async def test_another_file_is_refused_and_left_as_it_is(
    end: str, name: str, retry: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text := '{"name": "something else"}' + end)
    with pytest.raises(BatchError, match=rf"{name}, line 1, is not an answer of a batch"):
        Journal(options(tmp_path, retry=retry))
    assert path.read_text() == text


async def test_another_text_after_the_answers_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(text := ANSWER + ANSWER.replace(b": ", b":").removesuffix(b"\n"))
    with pytest.raises(BatchError, match=r"a.jsonl, line 2, is not an answer of a batch"):
        Journal(options(tmp_path))
    assert path.read_bytes() == text


async def test_zeros_that_a_crash_of_the_machine_leaves_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(ANSWER + ANSWER[:20] + bytes(100))
    with Journal(options(tmp_path)) as journal:
        assert journal.answered == {"x": "d1"}
    assert path.read_bytes() == ANSWER


async def test_two_batches_do_not_write_one_file(tmp_path: Path) -> None:
    with (
        Journal(options(tmp_path)),
        pytest.raises(BatchError, match="is being written by another batch"),
    ):
        Journal(options(tmp_path))
