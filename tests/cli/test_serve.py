"""`dreamr serve` as a process: it prints its address, answers, and stops without losing work."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from dreamr.cli import main
from dreamr.engines import Capabilities
from support.forked import fork
from support.pairs import Pair
from support.processes import Started, environment, start, until
from support.raw_server import closed_port
from support.redis_server import RedisServer, needs_redis

CODE = """
import sys
from dreamr.cli import main
from support.pairs import Pair
pair = Pair(target={"token_seconds": TOKEN})
sys.exit(main(["serve", "--port", "0", *sys.argv[1:]], open_model=pair))
"""
ASKED = {"model": "dreamr", "messages": [{"role": "user", "content": "What do they cost?"}]}


@contextmanager
def serving(
    *flags: str, token: float = 0.0, code: str = CODE, start: Callable[..., Started] = fork
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = start(code.replace("TOKEN", str(token)), *flags, env=environment(COLUMNS="200"))
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"base URL (\S+)/v1", line):
                yield process, found[1]
                break
        else:
            pytest.fail("it did not come up")
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_it_answers_until_it_is_told_to_stop() -> None:
    with serving("--method", "target", "--drain", "0", start=start) as (process, url):
        found = httpx2.post(f"{url}/v1/chat/completions", json=ASKED, timeout=20).json()
        assert found["choices"][0]["message"]["content"] == "3.70"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


STOPPED_EARLY = """
import signal, sys
from dreamr.cli import main
from support.pairs import Pair

class Terminated(dict):
    def get(self, call):  # at the first stream of the target, which writes nothing
        signal.raise_signal(signal.SIGTERM)

target = {"token_seconds": float("inf"), "stream_failures": Terminated()}
sys.exit(main(open_model=Pair(target=target)))
"""


def test_a_signal_while_it_warms_up_ends_it() -> None:
    with fork(STOPPED_EARLY, "serve", "--port", "0") as process:
        _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert said.splitlines()[-1] == "dreamr: interrupted"


def test_requests_that_run_when_it_stops_are_finished() -> None:
    with serving("--method", "target", token=0.05) as (process, url):
        body = {**ASKED, "stream": True}
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGINT)
            rest = list(lines)
        assert "data: [DONE]" in rest
        assert process.wait(20) == 0


def chat(url: str, key: str | None = None) -> httpx2.Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx2.post(f"{url}/v1/chat/completions", json=ASKED, headers=headers, timeout=20)


def test_it_refuses_new_requests_before_it_stops_and_finishes_running_ones() -> None:
    with serving("--method", "target", "--drain", "1", token=0.05) as (process, url):
        assert httpx2.get(f"{url}/ready").json()["status"] == "ready"
        body = {**ASKED, "stream": True}
        with httpx2.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=20) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            until(lambda: httpx2.get(f"{url}/ready").status_code == 503)
            refused = chat(url)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
            assert "retry-after" in refused.headers
            rest = list(lines)
        assert "data: [DONE]" in rest
        assert process.wait(20) == 0


def test_keys_are_read_again_at_a_signal(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    flags = ("--method", "target", "--keys-file", str(keys), "--drain", "0")
    with serving(*flags, token=0.05) as (process, url):
        body, headers = {**ASKED, "stream": True}, {"Authorization": "Bearer old"}
        with httpx2.stream(
            "POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            keys.write_text("old running=x\n")
            process.send_signal(signal.SIGHUP)
            keys.write_text("new name=alice\n")
            process.send_signal(signal.SIGHUP)
            until(lambda: chat(url, "old").status_code == 401)
            assert chat(url, "new").status_code == 200
            rest = list(lines)
        assert "data: [DONE]" in rest, "a running request was dropped"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        assert "1 keys read" in log


@pytest.mark.parametrize("broken", ["", "old running=x", "two words"])
def test_a_broken_file_of_keys_keeps_the_old_ones(tmp_path: Path, broken: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    flags = ("--method", "target", "--keys-file", str(keys), "--drain", "0")
    with serving(*flags) as (process, url):
        keys.write_text(broken)
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert "the keys stay as they are" in process.stderr.readline()
        assert chat(url, "old").status_code == 200


def test_it_exits_when_a_model_is_lost_if_told_so() -> None:
    lost = "Failure(EngineLost('gone'))"
    code = CODE.replace('"token_seconds": TOKEN', f'"stream_failures": {{2: {lost}}}')
    code = "from dreamr.engines import Failure\nfrom dreamr.errors import EngineLost\n" + code
    with serving("--method", "target", "--on-lost", "exit", code=code) as (process, url):
        found = chat(url)
        assert (found.status_code, found.json()["error"]["code"]) == (503, "engine_lost")
        _, log = process.communicate(timeout=20)
        assert process.returncode == 3
    assert "stopped: the target is lost" in log
    assert "opening the target again" not in log


def test_lines_of_the_log_are_never_wrapped() -> None:
    flags = ("--method", "target", "--log-text", "--log-format", "json", "--drain", "0")
    with serving(*flags) as (process, url):
        long = {"role": "user", "content": "\x1b[31m\n\u2028" + "word " * 999}
        httpx2.post(f"{url}/v1/chat/completions", json={**ASKED, "messages": [long]}, timeout=20)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    lines = [line for line in log.splitlines() if line != "stopped"]
    records = [json.loads(line) for line in lines]
    (done,) = (record for record in records if record.get("status") == 200)
    assert done["steps"] == 3
    assert len({record["request_id"] for record in records if "request_id" in record}) == 1


def test_a_port_in_use_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)], open_model=Pair()) == 2
    assert f"port {port}" in capsys.readouterr().err


def test_a_target_that_cannot_judge_is_refused_at_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = Pair(target={"capabilities": Capabilities(judge=False)})
    assert main(["serve", "--port", "0"], open_model=pair) == 1
    assert "gate ratio needs" in capsys.readouterr().err


def test_a_file_of_keys_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--keys-file", "/no/such"], open_model=Pair()) == 2
    assert "keys-file" in capsys.readouterr().err


PAIRS = """
models:
  big: {url: http://gpu1:8000/v1}
  small: {url: http://gpu2:8000/v1}
pairs:
  both: {target: big, draft: small}
  plain: {target: big}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pair.yaml"
    path.write_text(PAIRS)
    return str(path)


def names_at(url: str) -> list[str]:
    return [model["id"] for model in httpx2.get(f"{url}/v1/models").json()["data"]]


def test_all_pairs_of_a_file_are_served(file: str) -> None:
    with serving("--pair", file, "--deterministic", "--drain", "0") as (_, url):
        assert names_at(url) == ["both", "plain", "target", "draft"]
        methods = {}
        for name in ("both", "plain"):
            found = httpx2.post(
                f"{url}/v1/chat/completions", json={**ASKED, "model": name}, timeout=20
            ).json()
            assert found["choices"][0]["message"]["content"] == "3.70"
            methods[name] = found["dreamr"]["method"]
    assert methods == {"both": "fpsr", "plain": "target"}


def test_one_pair_of_a_file_is_served_by_its_name(file: str) -> None:
    with serving("--pair", f"{file}:plain", "--drain", "0") as (_, url):
        assert names_at(url) == ["plain", "target"]


def test_the_first_pair_can_have_another_name(file: str) -> None:
    with serving("--pair", file, "--served-model-name", "new", "--drain", "0") as (_, url):
        assert names_at(url)[:2] == ["new", "plain"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--served-model-name", "plain"), "plain is the name of another pair"),
        (("--method", "fpsr"), "the pair plain has no draft, which method fpsr needs"),
    ],
)
def test_flags_that_do_not_fit_all_pairs_are_refused(
    file: str, flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", "--pair", file, *flags], open_model=Pair()) == 2
    assert said in capsys.readouterr().err


def test_the_pair_of_a_lost_model_is_named(file: str) -> None:
    lost = "Failure(EngineLost('gone'))"
    code = CODE.replace('"token_seconds": TOKEN', f'"stream_failures": {{4: {lost}}}')
    code = "from dreamr.engines import Failure\nfrom dreamr.errors import EngineLost\n" + code
    with serving("--pair", file, "--on-lost", "exit", code=code) as (process, url):
        body = {**ASKED, "model": "plain"}
        while httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=20).status_code == 200:
            pass
        _, log = process.communicate(timeout=20)
        assert process.returncode == 3
    assert "stopped: the target of plain is lost" in log


SERVED = """
import sys
from dreamr.cli import main
sys.exit(main(["serve", "--port", "0", *sys.argv[1:]]))
"""


def test_a_signal_ends_the_wait_for_a_server_at_once() -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}/v1"
    flags = ("--target", nowhere, "--draft", nowhere, "--wait", "3600")
    process = fork(SERVED, *flags)
    assert process.stderr is not None
    lines = iter(process.stderr)
    assert any("waiting for the" in line for line in lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert "interrupted" in "".join(lines)
    process.communicate(timeout=20)


def test_without_a_wait_an_unreachable_server_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = f"http://127.0.0.1:{closed_port()}/v1"
    flags = ["--method", "target", "--target", nowhere, "--port", "0"]
    assert main(["serve", *flags]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "dreamr:" in line]
    assert len(errors) == 1
    assert "connection refused" in errors[0]
    assert "--wait SECONDS" in errors[0]


@needs_redis
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis:6379", "--store redis:6379 is not an address of Redis"),
        ("{url}", "denies access: set DREAMR_REDIS_PASSWORD"),
    ],
)
def test_a_store_that_cannot_be_used_is_an_error_before_the_models_are_loaded(
    url: str, message: str, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, "--requirepass", "secret") as server:
        process = fork(CODE.replace("TOKEN", "0"), "--store", url.format(url=server.url))
        _, said = process.communicate(timeout=60)
    assert (process.returncode, message in said) == (2, True), said
    assert "loading" not in said
