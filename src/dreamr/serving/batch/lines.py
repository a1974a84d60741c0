"""Lines of answers and errors, in the format of OpenAI's batches."""

from __future__ import annotations

import json
from typing import Any

_ID = "batch_req_"
_START = f'{{"id": "{_ID}'.encode()  # of each line


def answer_line(custom_id: str, digest: str, body: Any) -> bytes:
    """Return the line of an answer.

    Args:
        custom_id: Id of the request.
        digest: Its digest.
        body: Body of the response.
    """
    response = {"status_code": 200, "request_id": body.get("id"), "body": body}
    return _line(custom_id, digest, response, None)


def error_line(custom_id: str, digest: str, code: str, message: str, status: int) -> bytes:
    """Return the line of a request that ended in an error.

    Args:
        custom_id: Id of the request.
        digest: Its digest; empty if it is not a request.
        code: Name of the error.
        message: What is wrong, in one line.
        status: HTTP status.
    """
    cause = {"code": code, "message": message}
    return _line(custom_id, digest, {"status_code": status}, cause)


def read_line(line: bytes) -> tuple[str, str]:
    """Return id and digest of the request that a line answers.

    Raises:
        ValueError: If it is not the line of an answer or error.
    """
    try:
        match json.loads(line):
            case {"id": str(key), "custom_id": str(name), "response": _, "error": _}:
                return name, key.removeprefix(_ID)
    except RecursionError:
        pass
    raise ValueError("not an answer of a batch")


def check_cut_line(line: bytes) -> None:
    """Check that a line without an end can be the beginning of an answer or error.

    Raises:
        ValueError: If it cannot.
    """
    found = line.rstrip(b"\0")  # a crash of the machine can leave zeros
    if found[: len(_START)] != _START[: len(found)]:
        raise ValueError("not the beginning of an answer of a batch")


def _line(custom_id: str, digest: str, response: Any, error: Any) -> bytes:
    values = {
        "id": _ID + digest,
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
