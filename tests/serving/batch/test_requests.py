"""Requests of a batch: each line a request, or what is wrong with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr.serving.batch import BatchError
from dreamr.serving.batch.requests import (
    BatchRequest,
    InvalidRequest,
    count_requests,
    read_requests,
)

BODY = {"model": "dreamr", "messages": [{"role": "user", "content": "What?"}]}
OPENAI = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}


def read(tmp_path: Path, *lines: Any, name: str = "r.jsonl") -> list[Any]:
    path = tmp_path / name
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return list(read_requests(path))


def body(request: BatchRequest) -> Any:
    return json.loads(request.body)


def parts(request: BatchRequest) -> list[Any]:
    content: list[Any] = body(request)["messages"][-1]["content"]
    return content


def test_a_line_in_openais_format_is_sent_as_it_is(tmp_path: Path) -> None:
    (found,) = read(tmp_path, OPENAI)
    assert (found.custom_id, found.url, body(found)) == ("a", OPENAI["url"], BODY)


def test_each_line_names_its_endpoint(tmp_path: Path) -> None:
    urls = ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/messages"]
    lines = [{**OPENAI, "custom_id": url, "url": url} for url in urls]
    assert [found.url for found in read(tmp_path, *lines)] == urls


def test_with_an_endpoint_of_all_lines_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    lines: list[Any] = [
        {"custom_id": "a", "body": {"input": "What?"}},
        OPENAI,
        {"id": "b", "question": "What?"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, *others = read_requests(path, "/v1/responses")
    assert isinstance(first, BatchRequest)
    assert first.url == "/v1/responses"
    for other in others:
        assert isinstance(other, InvalidRequest)
        assert "url must be /v1/responses, the endpoint of the batch" in other.message


def test_a_question_becomes_a_message_after_its_attachments(tmp_path: Path) -> None:
    line = {"id": 7, "question": "What?", "attachments": ["a.png", "https://x/y.png"]}
    (found,) = read(tmp_path, line)
    assert found.custom_id == "7"
    assert parts(found) == [
        {"type": "file", "file": {"file_id": "a.png", "filename": "a.png"}},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "text", "text": "What?"},
    ]


def test_a_line_with_messages_is_a_body(tmp_path: Path) -> None:
    (found,) = read(tmp_path, {"id": "m", "messages": BODY["messages"], "max_tokens": 9})
    assert body(found) == {**BODY, "max_tokens": 9}


def test_a_system_text_comes_first(tmp_path: Path) -> None:
    (found,) = read(tmp_path, {"question": "What?", "system": "Be brief."})
    assert body(found)["messages"][0] == {"role": "system", "content": "Be brief."}


def test_lines_without_an_id_are_named_by_their_place_and_blank_lines_are_none(
    tmp_path: Path,
) -> None:
    found = read(tmp_path, {"question": "a"}, "", {"question": "b"})
    assert [one.custom_id for one in found] == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ([1], "must be a JSON object"),
        ({}, "has neither body, messages nor question"),
        ({"question": 3}, "question must be text"),
        ({"question": None}, "question must be text"),
        ({"question": "a", "system": 1.5}, "system must be text"),
        ('{"question": %s}' % ("9" * 5000), "too many digits"),
        ({"question": "a", "colour": 1}, "unknown field"),
        ({"question": "a", "attachments": [3]}, "must be a path or URL"),
        ({**OPENAI, "url": "/v1/embeddings"}, "url must be"),
        ({**OPENAI, "method": "GET"}, "method must be POST"),
        ({**OPENAI, "body": []}, "body must be a JSON object"),
        ({**OPENAI, "body": {**BODY, "stream": True}}, "stream is not supported in a batch"),
        ({**OPENAI, "url": "/v1/responses", "body": {"background": True}}, "background is not"),
        ({"messages": [], "stream": True}, "stream is not supported in a batch"),
        ({"messages": [], "background": True}, "background is not supported"),
        ({"body": BODY}, "custom_id is missing"),
    ],
)
def test_a_line_that_is_no_request_says_what_is_wrong(
    line: Any, message: str, tmp_path: Path
) -> None:
    (found,) = read(tmp_path, line)
    assert isinstance(found, InvalidRequest)
    assert message in found.message
    assert "\n" not in found.message


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("line", ['{"custom_id": "a", "body": %s}', '{"messages": [], "more": %s}'])
def test_a_number_that_json_cannot_hold_is_wrong_with_its_line_alone(
    line: str, number: str, tmp_path: Path
) -> None:
    first, second = read(tmp_path, line % f'{{"temperature": {number}}}', {"question": "a"})
    assert isinstance(first, InvalidRequest)
    assert "NaN or a number that is too large" in first.message
    assert isinstance(second, BatchRequest)


@pytest.mark.parametrize(
    "line",
    [
        {"id": "a", "question": "x \ud83d"},
        {"id": "a", "question": "x", "system": "\udc00"},
        {"id": "a", "question": "x", "attachments": ["\ud83d.png"]},
        {"id": "a", "messages": [{"role": "user", "content": "\ud83d"}]},
        {**OPENAI, "body": {**BODY, "\ud83d": 1}},
    ],
)
def test_half_of_a_character_is_wrong_with_its_line_alone(line: Any, tmp_path: Path) -> None:
    first, second = read(tmp_path, line, {"question": "whole \U0001f600"})
    assert isinstance(first, InvalidRequest)
    assert (first.custom_id, "unpaired surrogate" in first.message) == ("a", True)
    assert parts(second)[-1]["text"] == "whole \U0001f600"


@pytest.mark.parametrize("name", ["id", "custom_id"])
def test_an_id_that_no_file_can_hold_is_replaced_by_the_place(name: str, tmp_path: Path) -> None:
    found = read(tmp_path, *({"question": "a", name: text} for text in ("\ud83d", "\ude00")))
    assert [one.custom_id for one in found] == ["line 1", "line 2"]
    assert all("its id contains half of a character" in one.message for one in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda values: st.lists(values) | st.dictionaries(st.text(st.characters()), values),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*OPENAI, *BODY, "id", "question", "system"]), JSON))
def test_what_is_no_error_is_strict_json(tmp_path_factory: Any, line: Any) -> None:
    for found in read(tmp_path_factory.mktemp("lines"), line):
        found.custom_id.encode()
        if isinstance(found, BatchRequest):
            json.dumps(body(found), ensure_ascii=False, allow_nan=False).encode()


def test_lists_that_are_read_but_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    depths = range(600, 1000)  # around the limit, which depends on the caller
    lists = ("[" * depth + "]" * depth for depth in depths)
    found = read(tmp_path, *(f'{{"messages": {nested}}}' for nested in lists))
    wrong = [one for one in found if isinstance(one, InvalidRequest)]
    assert len(found) == len(depths)
    assert all("nested too deeply" in one.message for one in wrong)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=80))
def test_no_line_of_text_raises_anything(tmp_path_factory: Any, line: str) -> None:
    path = tmp_path_factory.mktemp("lines") / "r.jsonl"
    path.write_text(line, encoding="utf-8", newline="")
    for found in read_requests(path):
        assert isinstance(found, BatchRequest | InvalidRequest)


def test_rows_of_a_table_are_questions(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        'id,question,attachments,answer\nx,"How, much?",a.png,3\n,What?,"[""b.png"", ""c.png""]",\n'
    )
    first, second = read_requests(path)
    assert (first.custom_id, second.custom_id) == ("x", "row 2")
    assert [part.get("file", part) for part in parts(first)] == [
        {"file_id": "a.png", "filename": "a.png"},
        {"type": "text", "text": "How, much?"},
    ]
    assert len(parts(second)) == 3


def test_long_cells_are_read_without_a_new_limit_for_others(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "x" * (before + 1)
    path = tmp_path / "r.csv"
    path.write_text(f"question\n{long}\n{long}\n")
    for found in read_requests(path):
        assert parts(found)[-1]["text"] == long
        assert csv.field_size_limit() == before


def test_parquet_files_carry_their_images(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "r.parquet"
    rows = [{"question": "What?", "attachments": [{"bytes": b"png", "path": None}]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    (found,) = read_requests(path)
    assert parts(found)[0] == {"type": "file", "file": {"file_data": "cG5n"}}


def test_what_a_cell_of_a_table_cannot_hold_is_wrong_with_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('question,attachments\na,"[""\\ud83d""]"\nb,[NaN]\nc,\n')
    *wrong, right = read_requests(path)
    assert [one.custom_id for one in wrong] == ["row 1", "row 2"]
    assert all(isinstance(one, InvalidRequest) for one in wrong)
    assert isinstance(right, BatchRequest)


def test_what_a_row_of_a_parquet_file_cannot_hold_is_wrong_with_its_row_alone(
    tmp_path: Path,
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    text = pyarrow.array([b"a", b"\xff", b"c", b"d"]).view(pyarrow.string())
    system = pyarrow.array([None, None, b"x", None])
    other = pyarrow.array([b"\xff"] * 4).view(pyarrow.string())  # not read
    path = tmp_path / "r.parquet"
    parquet.write_table(pyarrow.table({"question": text, "system": system, "other": other}), path)
    first, *wrong, last = read_requests(path)
    assert [parts(one)[-1]["text"] for one in (first, last)] == ["a", "d"]
    assert [one.message for one in wrong] == [
        "not UTF-8 text",
        "system must be text, not bytes",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "a,b\n1,2\n", "no column question or attachments"),
        ("r.parquet", "no", "not a parquet file"),
        ("r.jsonl", "", "no valid request"),
        ("r.jsonl", "what\n", "no valid request; line 1: not valid JSON"),
        ("r.jsonl", '{"id": 1, "question": "a"}\n' * 2, 'two requests with the id "1"'),
    ],
)
def test_a_file_that_cannot_be_a_batch_is_refused_in_one_line(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BatchError, match=message) as found:
        count_requests(path)
    assert "\n" not in str(found.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="cannot read the requests"):
        count_requests(tmp_path / "none.jsonl")


def test_the_digest_follows_the_request_and_not_the_order_of_its_fields(tmp_path: Path) -> None:
    turned = {name: OPENAI[name] for name in reversed(OPENAI)}
    other = {**OPENAI, "body": {**BODY, "max_tokens": 1}}
    first, same, different = read(tmp_path, OPENAI, turned, other)
    assert first.digest == same.digest != different.digest
