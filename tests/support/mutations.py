"""Mutations of good responses: forms that servers are known to send, and damage.

No mutation gives another good response: one that drops a piece of text, or changes a letter, could
not be noticed by any client.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import httpx2

from support.raw_served import DONE, Json, Reply, lines

JUNK: list[Any] = [
    None, True, False, 0, -7, 3.5, 10**30, float("nan"), float("inf"), "", "x", "null", [], [[]],
    [None], {}, {"a": {"b": []}}, "9" * 50,
]  # fmt: skip
NOT_TEXT: list[Any] = [True, False, 0, 3.5, float("nan"), {}, {"a": 1}, [5], [None], [[]], [{}]]
NOT_OBJECT: list[Any] = [True, 5, "x", "", [], [1]]
NOT_LIST: list[Any] = [True, 0, "x", {}, {"0": {}}]
REASONS: list[Any] = [
    None, "", "null", "stop", "STOP", "end_turn", "eos_token", "other", "error", "abort",
    "content_filter", "max_tokens", "length", {"type": "stop"}, 5, True, [],
]  # fmt: skip
ERRORS: list[Any] = [
    {"error": {"message": "worker crashed", "type": "server_error", "code": None}},
    {"error": "worker crashed"},
    {"error": {"message": "slow down", "code": "429"}},
    {"object": "error", "message": "CUDA out of memory", "code": 500},
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"detail": "Internal Server Error"},
    {"error": {"message": "maximum context length is 8 tokens", "code": 400}},
    {"error": {"message": "no such field", "code": 400}},
    {"errors": [{"msg": "gone"}]},
]
HEARTBEATS = [
    b"data:\n\n", b"data: : ping\n\n", b": comment\n\n", b"event: ping\ndata: {}\n\n", b"\n",
    b"data: ping\n\n", b"data: null\n\n", b'data: {"choices": []}\n\n', b"retry: 10\n\n",
    b'data: {"choices": null}\n\n', b'data: {"choices": [null]}\n\n', b'data: {"error": null}\n\n',
    b'data: {"choices": [{"delta": null}]}\n\n', b'data: {"type": "ping"}\n\n', b"id: 7\n\n",
]  # fmt: skip
STRUCTURE = b'{}[]"\n'  # bytes that are not in the text itself

Events = list[Json]


def choices(found: Events) -> list[Json]:
    """The choices that earlier mutations have left in their usual form."""
    listed = [event.get("choices") for event in found]
    firsts = [one[0] for one in listed if isinstance(one, list) and one]
    return [choice for choice in firsts if isinstance(choice, dict)]


def texts(found: Events) -> list[Json]:
    """The choices with text in its usual form."""
    deltas = [(choice, choice.get("delta")) for choice in choices(found)]
    pieces = [(choice, delta.get("content")) for choice, delta in deltas if isinstance(delta, dict)]
    return [choice for choice, content in pieces if content and isinstance(content, str)]


def complete(found: Events) -> bool:
    """Whether the end of the text is there; a reason elsewhere could be true."""
    return [choice.get("finish_reason") for choice in choices(found)[-1:]] == ["stop"]


# Mutations of events


def without_reason(rng: random.Random, found: Events) -> None:
    for choice in choices(found):
        choice.pop("finish_reason", None)


def without_last(rng: random.Random, found: Events) -> None:
    del found[rng.randrange(len(found)) :]


def other_reason(rng: random.Random, found: Events) -> None:
    if complete(found):
        choices(found)[-1]["finish_reason"] = rng.choice(REASONS)


def reason_everywhere(rng: random.Random, found: Events) -> None:
    reason = rng.choice(["stop", "STOP", "", "null", None])
    for choice in choices(found) if complete(found) else ():
        choice["finish_reason"] = reason


def as_messages(rng: random.Random, found: Events) -> None:
    for choice in choices(found):
        choice["message"] = choice.pop("delta", None)


def as_parts(rng: random.Random, found: Events) -> None:
    for choice in texts(found):
        text = choice["delta"]["content"]
        part = {"type": "text", "text": text}
        choice["delta"]["content"] = rng.choice([[part], part, [text], [{"text": text}]])


def halves(rng: random.Random, found: Events) -> None:
    """Cut characters at UTF-16 units."""
    for event in list(found):
        for choice in texts([event]):
            text = choice["delta"]["content"]
            units = text.encode("utf-16-le", "surrogatepass")
            parts = [units[i : i + 2].decode("utf-16-le", "surrogatepass") for i in
                     range(0, len(units), 2)]  # fmt: skip
            place = found.index(event)
            found[place : place + 1] = [
                {**event, "choices": [{**choice, "delta": {"content": part}}]} for part in parts
            ]


def junk_in_text(rng: random.Random, found: Events) -> None:
    if not texts(found):
        return
    choice = rng.choice(texts(found))
    event = next(event for event in found if choice in choices([event]))
    match rng.randrange(4):
        case 0:
            choice["delta"]["content"] = rng.choice(NOT_TEXT)
        case 1:
            choice["delta"] = rng.choice(NOT_OBJECT)
        case 2:
            event["choices"] = rng.choice(NOT_LIST)
        case 3:
            event["choices"] = [rng.choice(NOT_OBJECT)]


def junk_beside_text(rng: random.Random, found: Events) -> None:
    event = rng.choice(found)
    names = ["id", "object", "usage", "created", "x"]
    event[rng.choice(names)] = rng.choice(JUNK)
    for choice in choices([event]):
        choice[rng.choice(["logprobs", "index", "stop_reason", "x"])] = rng.choice(JUNK)


def junk_usage(rng: random.Random, found: Events) -> None:
    for event in found:
        if event.get("usage") or rng.random() < 0.2:
            names = ("prompt_tokens", "completion_tokens", "prompt_tokens_details")
            event["usage"] = {name: rng.choice(JUNK) for name in names}


def junk_logprobs(rng: random.Random, found: Events) -> None:
    for choice in choices(found):
        token = {"token": "x", "logprob": rng.choice([*JUNK, -0.5, -9999.0]), "top_logprobs": []}
        choice["logprobs"] = {"content": rng.choice([[token], [token, token], None, 5])}


def an_error(rng: random.Random, found: Events) -> None:
    place = rng.randrange(len(found) + 1)
    found.insert(place, dict(rng.choice(ERRORS), choices=[]))
    if rng.random() < 0.5:
        del found[place + 1 :]


# In the order in which they are made.
CHANGES: list[Callable[[random.Random, Events], None]] = [
    without_last, without_reason, other_reason, reason_everywhere, as_messages, as_parts, halves,
    junk_in_text, junk_beside_text, junk_usage, junk_logprobs, an_error,
]  # fmt: skip


# Forms of a body


def usual(rng: random.Random, found: Events) -> bytes:
    return b"".join(map(lines, found)) + DONE


def without_done(rng: random.Random, found: Events) -> bytes:
    return b"".join(map(lines, found))


def without_blank_lines(rng: random.Random, found: Events) -> bytes:
    return usual(rng, found).replace(b"\n\n", b"\n")


def with_heartbeats(rng: random.Random, found: Events) -> bytes:
    beats = (rng.choice(HEARTBEATS) + lines(event) for event in found)
    return b"".join(beats) + rng.choice(HEARTBEATS) + DONE


def with_escapes(rng: random.Random, found: Events) -> bytes:
    return b"".join(f"data:{json.dumps(event)}\n\n".encode() for event in found) + DONE


def on_several_lines(rng: random.Random, found: Events) -> bytes:
    pretty = (json.dumps(event, indent=1).replace("\n", "\ndata: ") for event in found)
    return "".join(f"data: {event}\n\n" for event in pretty).encode() + DONE


def as_json_lines(rng: random.Random, found: Events) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in found)


def with_other_fields(rng: random.Random, found: Events) -> bytes:
    return usual(rng, found).replace(b"data: ", b"id: 3\nevent: chunk\nfoo: bar\ndata: ")


FORMS: list[Callable[[random.Random, Events], bytes]] = [
    usual, without_done, without_blank_lines, with_heartbeats, with_escapes, on_several_lines,
    as_json_lines, with_other_fields,
]  # fmt: skip


# Damage of a body


def body_of(rng: random.Random, found: Events) -> bytes:
    body = rng.choice(FORMS if rng.random() < 0.5 else FORMS[:2])(rng, found)
    end = rng.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
    return rng.choice([b"", b"", b"\xef\xbb\xbf"]) + body.replace(b"\n", end)


def damaged(rng: random.Random, body: bytes) -> bytes:
    places = [place for place, byte in enumerate(body) if byte in STRUCTURE]
    if not places:
        return body
    place = rng.choice(places)
    match rng.randrange(4):
        case 0:
            return body[:place] + b"\xff" + body[place:]
        case 1:
            return body[:place] + body[place + 1 :] if body[place : place + 1] != b"\n" else body
        case 2:
            return body[:place] + b"}" + body[place:] if body[place : place + 1] in b"{}" else body
        case _:
            return body[:place]


def pieces_of(rng: random.Random, body: bytes) -> list[bytes | Exception]:
    match rng.randrange(20):
        case 0:
            return [bytes([byte]) for byte in body]
        case 1 | 2 | 3 | 4 | 5:
            return [body]
        case _:
            ends = sorted(rng.randrange(len(body) + 1) for _ in range(5))
            places = zip([0, *ends], [*ends, len(body)], strict=True)
            return [body[first:last] for first, last in places]


def refused(rng: random.Random) -> Reply:
    status = rng.choice([200, 204, 307, 400, 404, 408, 413, 422, 429, 500, 502, 503, 529])
    bodies = [b"", b"{}", b"<html>Bad Gateway</html>", b"upstream timed out", b'{"error": ', b"5"]
    bodies += [json.dumps(error).encode() for error in ERRORS]
    body = rng.choice(bodies)
    if status == 204:
        body = b""
    return Reply([body], status, rng.choice(["application/json", "text/html", ""]))


def mutated(rng: random.Random, found: Events) -> Reply:
    """A response to a streamed request, with any mutations."""
    if rng.random() < 0.05:
        return refused(rng)
    for place in sorted(rng.sample(range(len(CHANGES)), rng.choice([0, 1, 1, 1, 2]))):
        if found:
            CHANGES[place](rng, found)
    body = body_of(rng, found)
    if rng.random() < 0.2:
        body = damaged(rng, body)
    pieces = pieces_of(rng, body)
    if rng.random() < 0.1:
        del pieces[rng.randrange(len(pieces) + 1) :]
        if rng.random() < 0.5:
            pieces.append(httpx2.ReadError("reset"))
    kinds = ["text/event-stream", "text/event-stream; charset=latin-1", "text/plain", "", "x/y"]
    return Reply(pieces, kind=rng.choice(kinds))


# Responses that are not streamed


def mutated_answer(rng: random.Random, found: Json) -> Any:
    """A judge's response, in which no value speaks for the step more than before."""
    choice = found["choices"][0]
    token = choice["logprobs"]["content"][0]
    match rng.randrange(9):
        case 0:
            return rng.choice([*ERRORS, *JUNK])
        case 1:
            found["choices"] = rng.choice(JUNK)
        case 2:
            choice["logprobs"] = rng.choice(JUNK)
        case 3:
            choice["logprobs"]["content"] = rng.choice(JUNK)
        case 4:
            rng.choice(token["top_logprobs"])["logprob"] = rng.choice(
                [one for one in JUNK if one not in (0, -7, False)]
            )
        case 5:
            token["top_logprobs"] = rng.choice(JUNK)
        case 6:
            found["usage"] = rng.choice(JUNK)
        case 7:
            choice["message"] = rng.choice(JUNK)
    return found
