"""Replicas are killed in mid-work: another goes on from what was committed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from support.forked import fork
from support.processes import environment, until
from support.redis_server import RedisServer, needs_redis

pytest.importorskip("redis")
pytestmark = [needs_redis, pytest.mark.slow]
COUNT = 40
SLOW, FAST = 0.02, 0.002  # seconds a token: of a replica that is killed in mid-work, of others
SCRIPT = """
import os
import sys
from functools import partial
from support.pairs import Pair
from dreamr.cli import main
from dreamr.serving.store import redis
redis.RedisStore = partial(redis.RedisStore, lease=3.0)  # seconds; the usual six are waited for
name = os.environ["REPLICA"]
steps = [f"Number {n} is one more than before, says replica {name}.\\n\\n" for n in range(40)]
model = {"script": (*steps, "Answer: 39"), "token_seconds": float(os.environ["TOKEN"])}
pair = Pair(target={**model, "opinion": 0.95}, draft=model)
sys.exit(main(["serve", "--port", "0", *sys.argv[1:]], open_model=pair))
"""
ASKED: dict[str, Any] = {"model": "dreamr", "input": "What is the last number?"}


class Replica:
    """A gateway in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0)


@contextmanager
def serving(store: str, *flags: str, name: str = "one", seconds: float = SLOW) -> Iterator[Replica]:
    variables = environment(COLUMNS="200", REPLICA=name, TOKEN=str(seconds))
    process = fork(SCRIPT, "--store", store, *flags, stdout=subprocess.DEVNULL, env=variables)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"base URL (\S+)/v1", line):
                replica = Replica(process, found[1])
                with replica.client:
                    yield replica
                break
        else:
            pytest.fail("it did not come up")
    finally:
        process.kill()
        process.communicate(timeout=20)


def steps_of(text: str) -> list[str]:
    """Return the replicas that wrote the steps of a text, which must be the right ones."""
    found = re.findall(r"Number (\d+) is one more than before, says replica (\w+)\.\n\n", text)
    assert [int(number) for number, _ in found] == list(range(COUNT))
    return [name for _, name in found]


def text_of(events: list[Any], kind: str) -> str:
    return "".join(event.delta for event in events if event.type == f"response.{kind}.delta")


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("method", ["fpsr", "target"])
def test_a_stream_goes_on_at_another_replica_after_kill_9(
    method: str, background: bool, tmp_path: Path
) -> None:
    more = {"dreamr": {"method": method}}
    with (
        RedisServer(tmp_path) as server,
        serving(server.url) as one,
        serving(server.url, name="other", seconds=FAST) as other,
    ):
        asked = {**ASKED, "background": background, "stream": True, "extra_body": more}
        seen: list[Any] = []
        with suppress(httpx.HTTPError, openai.APIError):  # whichever says that it was cut
            for event in one.client.responses.create(**asked):
                seen.append(event)
                if text_of(seen, "reasoning_text").count("\n\n") == 8:
                    os.kill(one.process.pid, 9)
        assert seen[-1].type != "response.completed"
        name, last = seen[0].response.id, seen[-1].sequence_number
        seen += other.client.responses.retrieve(name, stream=True, starting_after=last)
        assert [event.sequence_number for event in seen] == list(range(len(seen)))
        writers = steps_of(text_of(seen, "reasoning_text"))
        assert writers == sorted(writers), "no step was sent twice or taken back"
        assert 8 <= writers.count("one") < 20
        response = seen[-1].response
        assert (response.status, response.output_text) == ("completed", "39")
        assert response.output[0].id == next(e.item_id for e in seen if hasattr(e, "item_id"))
        assert other.client.responses.retrieve(name).output_text == "39"
        tokens = response.model_extra["dreamr"]["usage"]
        assert all(count >= 0 for role in ("draft", "target") for count in tokens[role].values())
        second = other.client.responses.create(**ASKED, previous_response_id=name)
        assert second.output_text == "39"
        metrics = httpx.get(f"{str(other.client.base_url).removesuffix('/v1/')}/metrics").text
        counted = dict(re.findall(r'requests_resumed_total{kind="(\w+)".*} (\S+)', metrics))
        kind = "background" if background else "stream"
        assert {name for name, count in counted.items() if float(count)} == {kind}
        assert float(counted[kind]) == 1


def test_a_repeated_request_goes_on_at_another_replica_after_kill_9(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": ASKED["input"]}]
    asked: dict[str, Any] = {
        "model": "dreamr", "messages": messages, "stream": True,
        "stream_options": {"include_usage": True}, "extra_headers": {"Idempotency-Key": "1"},
    }  # fmt: skip
    with (
        RedisServer(tmp_path) as server,
        serving(server.url) as one,
        serving(server.url, name="other", seconds=FAST) as other,
    ):
        seen = ""
        with suppress(httpx.HTTPError, openai.APIError):  # whichever says that it was cut
            for chunk in one.client.chat.completions.create(**asked):
                seen += thought(chunk)
                if seen.count("\n\n") == 8:
                    os.kill(one.process.pid, 9)
        chunks = list(other.client.chat.completions.create(**asked))
    text = "".join(map(thought, chunks))
    assert text.startswith(seen), "what was sent is not taken back"
    writers = steps_of(text)
    assert writers == sorted(writers)
    assert 8 <= writers.count("one") < 20
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "39"
    assert chunks[-1].usage.completion_tokens > COUNT


def thought(chunk: Any) -> str:
    return "".join(getattr(one.delta, "reasoning", None) or "" for one in chunk.choices)


def test_a_batch_goes_on_at_another_replica_after_kill_9(tmp_path: Path) -> None:
    count = 60
    asked = {"role": "user", "content": "Which?"}
    body = {"model": "dreamr", "messages": [asked], "max_tokens": 40}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    lines = [json.dumps({"custom_id": f"r{number}", **line}) for number in range(count)]
    work = "\n".join(lines).encode()
    with RedisServer(tmp_path) as server:
        flags = ("--max-running", "16", "--method", "target")
        with serving(server.url, *flags) as one, serving(server.url, *flags, name="other") as other:
            file = one.client.files.create(file=("work.jsonl", work), purpose="batch")
            batch = one.client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            until(lambda: other.client.batches.retrieve(batch.id).request_counts.completed >= 8)
            os.kill(one.process.pid, 9)
            known = other.client.batches.retrieve(batch.id).request_counts.completed
            assert known < count
            until(lambda: other.client.batches.retrieve(batch.id).status == "completed")
            found = other.client.batches.retrieve(batch.id)
            lines = other.client.files.content(found.output_file_id).text.splitlines()
    writers = [said[1] for line in lines if (said := re.search(r"says replica (\w+)", line))]
    assert len(writers) == count
    assert known <= writers.count("one") < count, "what was answered is kept"
    names = [json.loads(line)["custom_id"] for line in lines]
    assert sorted(names) == sorted(f"r{number}" for number in range(count))
    assert found.request_counts.completed == count


def test_a_replica_that_stops_leaves_its_runs_to_another_at_once(tmp_path: Path) -> None:
    flags = ("--drain", "0", "--grace", "0")
    with RedisServer(tmp_path) as server, serving(server.url, *flags) as one:
        run = one.client.responses.create(**ASKED, background=True)
        with serving(server.url, seconds=FAST) as other:
            one.process.terminate()
            events = list(other.client.responses.retrieve(run.id, stream=True))
            assert one.process.wait(20) == 0
            assert events[-1].response.output_text == "39"
            assert len(steps_of(text_of(events, "reasoning_text"))) == COUNT
