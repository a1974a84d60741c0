"""Requests of a batch, read line by line from JSON Lines, CSV or parquet.

A line is a request in OpenAI's batch format, a body with messages, or a question with attachments.
"""

from __future__ import annotations

import csv
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from io import BufferedReader
from pathlib import Path, PurePath
from typing import Any

from dreamr._files import open_binary, shown
from dreamr._messages import reason
from dreamr.serving.batch.errors import BatchError

CHAT = "/v1/chat/completions"
URLS = (CHAT, "/v1/responses", "/v1/completions", "/v1/messages")
_MOST_LINE = 64 * 2**20  # bytes of a line
_MOST_SHOWN = 80  # characters of an id in a message
_DEEP = "nested too deeply: use fewer lists and objects within each other"
_HALVES = "contains half of a character (an unpaired surrogate): copy the text again"
_PLAIN = ("id", "custom_id", "question", "attachments", "system")
_NOT_WHOLE = ("stream", "background")  # fields that ask for a response without its answer
_MODEL = "dreamr"
_TABLES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request of a batch.

    Attributes:
        custom_id: Its id, unique in the file.
        url: Path of the endpoint.
        body: Body of the request, JSON in UTF-8.
        digest: Digest of endpoint and body, in hexadecimal digits.
    """

    custom_id: str
    url: str
    body: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """A line that is not a request.

    Attributes:
        custom_id: Its id, or its place in the file.
        message: What is wrong with it.
    """

    custom_id: str
    message: str


class _Invalid(ValueError):
    """What is wrong with a line."""


def read_requests(
    path: Path, endpoint: str | None = None
) -> Iterator[BatchRequest | InvalidRequest]:
    """Yield the requests of a file.

    Args:
        path: A file whose name ends in .csv, .tsv or .parquet, or one in JSON Lines.
        endpoint: Path of the endpoint of all requests; by default, each line names its own.

    Raises:
        BatchError: If the file cannot be read, or is not in its format.
    """
    try:
        for number, line in enumerate(_lines(path), 1):
            place = f"line {number}" if path.suffix.lower() not in _TABLES else f"row {number}"
            yield _request(line, place, endpoint)
    except OSError as error:
        raise BatchError(f"cannot read the requests {path}: {reason(error)}") from error


def count_requests(path: Path, endpoint: str | None = None) -> int:
    """Count the requests of a file, and check that their ids differ.

    Args:
        path: The file.
        endpoint: Path of the endpoint of all requests; by default, each line names its own.

    Raises:
        BatchError: If the file cannot be read, has no valid request, or has an id twice.
    """
    seen: set[str] = set()
    count, valid, first = 0, False, ""
    for request in read_requests(path, endpoint):
        if request.custom_id in seen:
            raise BatchError(
                f"{path} has two requests with the id {shown(request.custom_id, _MOST_SHOWN)}: "
                "answers are matched by id, so give each its own"
            )
        seen.add(request.custom_id)
        count += 1
        valid = valid or isinstance(request, BatchRequest)
        if isinstance(request, InvalidRequest) and not first:
            first = f"; {request.custom_id}: {request.message}"
    if not valid:
        raise BatchError(f"{path} has no valid request{first}")
    return count


def _lines(path: Path) -> Iterator[object]:
    match path.suffix.lower():
        case ".csv":
            return _table(path, ",")
        case ".tsv":
            return _table(path, "\t")
        case ".parquet":
            return _parquet(path)
        case _:
            return _json_lines(path)


def _json_lines(path: Path) -> Iterator[object]:
    """Yield the values of a file in JSON Lines, or what is wrong with a line."""
    with open_binary(path) as file:
        while line := file.readline(_MOST_LINE + 1):
            if len(line) > _MOST_LINE:
                raise BatchError(f"{path} has a line of more than {_MOST_LINE >> 20} MiB")
            if not line.strip():
                continue
            try:
                yield json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError:
                yield _Invalid("not UTF-8 text")
            except json.JSONDecodeError as error:
                yield _Invalid(f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}")
            except ValueError:
                yield _Invalid("a number has too many digits")
            except RecursionError:
                yield _Invalid(_DEEP)


def _table(path: Path, delimiter: str) -> Iterator[object]:
    """Yield the rows of a CSV file; empty cells are left out."""
    try:
        with open_binary(path) as file:
            rows = csv.DictReader(_decoded(file), delimiter=delimiter)
            _check_columns(path, rows.fieldnames or ())
            while (row := _next_row(rows)) is not None:
                yield _cells(row)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BatchError(f"{path} is not a table in UTF-8: {error}") from error


def _next_row(rows: csv.DictReader[str]) -> dict[str | Any, str | Any] | None:
    """Read a row with cells of any size up to the longest line; None at the end."""
    before = csv.field_size_limit(_MOST_LINE)  # of the whole process
    try:
        return next(rows, None)
    finally:
        csv.field_size_limit(before)


def _decoded(file: BufferedReader) -> Iterator[str]:
    yield file.readline().decode("utf-8-sig")
    for line in file:
        yield line.decode("utf-8")


def _parquet(path: Path) -> Iterator[object]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise BatchError(
            f"{path} needs pyarrow, which is not installed: pip install 'dreamr[bench]'"
        ) from error
    try:
        with open_binary(path) as file, pyarrow.parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            _check_columns(path, names)
            for rows in table.iter_batches(64, columns=[one for one in _PLAIN if one in names]):
                for place in range(rows.num_rows):
                    yield _row(rows.slice(place, 1))
    except pyarrow.ArrowException as error:
        raise BatchError(f"{path} is not a parquet file, or is damaged") from error


def _row(rows: Any) -> dict[str, Any] | _Invalid:
    """Return the cells of the one row of a parquet file, or what is wrong with it."""
    try:
        return _cells(rows.to_pylist()[0])
    except UnicodeDecodeError:
        return _Invalid("not UTF-8 text")
    except (ValueError, OverflowError) as error:  # a time that Python cannot hold, for instance
        return _Invalid(f"has a value that cannot be read: {reason(error)}")


def _check_columns(path: Path, names: Any) -> None:
    if "question" not in names and "attachments" not in names:
        raise BatchError(
            f"{path} has no column question or attachments; its columns are {', '.join(names)}"
        )


def _cells(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _PLAIN if row.get(name) not in (None, "")}


def _request(line: object, place: str, endpoint: str | None) -> BatchRequest | InvalidRequest:
    custom_id = _id(line) or place
    if not _is_text(custom_id):  # the files of answers could not name it
        return InvalidRequest(place, f"its id {_HALVES}")
    try:
        if isinstance(line, _Invalid):
            raise line
        if not isinstance(line, dict):
            raise _Invalid(f"must be a JSON object, not {shown(line)}")
        url, body = _sent(line, endpoint)
        if endpoint not in (None, url):
            raise _Invalid(f"url must be {endpoint}, the endpoint of the batch, not {url}")
        if field := next((name for name in _NOT_WHOLE if body.get(name)), None):
            raise _Invalid(f"{field} is not supported in a batch: leave it out")
        content, known = _encoded(body), _encoded([url, body], sort_keys=True)
    except _Invalid as error:
        return InvalidRequest(custom_id, str(error))
    return BatchRequest(custom_id, url, content, blake2b(known, digest_size=16).hexdigest())


def _encoded(value: object, *, sort_keys: bool = False) -> bytes:
    """Return a value that was read from JSON as strict JSON in UTF-8."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys)
        return text.encode()
    except UnicodeEncodeError as error:
        raise _Invalid(_HALVES) from error
    except ValueError as error:
        raise _Invalid(
            "contains NaN or a number that is too large for JSON: use another number or null"
        ) from error
    except RecursionError as error:  # the reader of JSON may take a little more than its writer
        raise _Invalid(_DEEP) from error


def _is_text(value: str) -> bool:
    """Return whether UTF-8 can hold a text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _id(line: object) -> str | None:
    if not isinstance(line, dict):
        return None
    for name in ("custom_id", "id"):
        value = line.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return None


def _sent(line: dict[str, Any], endpoint: str | None) -> tuple[str, dict[str, Any]]:
    """Return endpoint and body of a line."""
    if "body" in line or "url" in line:
        return _of_openai({"url": endpoint or CHAT, **line})
    if "messages" in line:
        body = {name: line[name] for name in line if name not in ("id", "custom_id")}
        return CHAT, {"model": _MODEL, **body}
    if "question" in line or "attachments" in line:
        return CHAT, _asked(line)
    raise _Invalid("has neither body, messages nor question")


def _of_openai(line: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    url, body, method = line["url"], line.get("body"), line.get("method", "POST")
    if url not in URLS:
        raise _Invalid(f"url must be {', '.join(URLS[:-1])} or {URLS[-1]}, not {shown(url)}")
    if method != "POST":
        raise _Invalid(f"method must be POST, not {shown(method)}")
    if not isinstance(body, dict):
        raise _Invalid(f"body must be a JSON object, not {shown(body)}")
    if line.get("custom_id") is None:
        raise _Invalid("custom_id is missing")
    return url, body


def _asked(line: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a question with attachments."""
    if unknown := line.keys() - set(_PLAIN):
        raise _Invalid(
            f"unknown field {shown(min(unknown))}: a question has the fields {', '.join(_PLAIN)}; "
            "for others, use messages or body"
        )
    question, system = line.get("question", ""), line.get("system")
    if not isinstance(question, str):
        raise _Invalid(f"question must be text, not {_kind(question)}")
    if not isinstance(system, str | None):
        raise _Invalid(f"system must be text, not {_kind(system)}")
    parts = [_attached(source) for source in _attachments(line.get("attachments"))]
    if question:
        parts.append({"type": "text", "text": question})
    messages = [{"role": "user", "content": parts}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return {"model": _MODEL, "messages": messages}


def _attachments(value: object) -> list[object]:
    match value:
        case None:
            return []
        case list():
            return value
        case str() if value.lstrip().startswith("["):  # of a table, whose cells are text
            try:
                found = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise _Invalid("attachments is not a valid list in JSON") from error
            return found if isinstance(found, list) else [found]
        case _:
            return [value]


def _attached(source: object) -> dict[str, Any]:
    """Return the part of an attachment: a path, a URL, or what datasets store."""
    match source:
        case str() if source.lower().startswith(("http://", "https://")):
            return {"type": "image_url", "image_url": {"url": source}}
        case str() if source.lower().startswith("data:"):
            return {"type": "file", "file": {"file_data": source}}
        case str() if source:
            file = {"file_id": source, "filename": PurePath(source).name}
            return {"type": "file", "file": file}
        case bytes():
            return {"type": "file", "file": {"file_data": b64encode(source).decode()}}
        case {"bytes": bytes() as data}:
            return _attached(data)
        case {"path": str() as path}:
            return _attached(path)
    raise _Invalid(f"an attachment must be a path or URL, not {_kind(source)}")


def _kind(value: object) -> str:
    return shown(value) if isinstance(value, str | int | float | None) else type(value).__name__
