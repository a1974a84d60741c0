"""Clients see the names of models, not the folders and servers that they are in."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamr import RunOptions
from dreamr.engines import Failure
from dreamr.errors import EngineLost
from dreamr.serving.gateway.public_text import PublicText, public_name
from support.gateways import Gateway, asked, use
from support.pairs import Pair

FOLDER = "/srv/models/secret/large"
SERVED = "Qwen/Qwen3-8B at http://10.1.2.3:8000/v1"


def public() -> PublicText:
    known = {
        FOLDER: "large",
        SERVED: "Qwen/Qwen3-8B",
        "http://10.1.2.3:8000/v1": "its server",
        "gpu7": "an address",
    }
    return PublicText(known.items)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (FOLDER, "large"),
        (SERVED, "Qwen/Qwen3-8B"),
        ("/models/large at https://gpu1.internal/v1", "large"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("tiny", "tiny"),
        ("~/models/large", "large"),
        ("./models/large", "large"),
        ("models/of/mine", "mine"),
    ],
)
def test_a_name_has_no_location(name: str, found: str) -> None:
    assert public_name(name) == found


def test_a_folder_of_the_current_one_is_not_taken_for_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "large").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name("models/large") == "large"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            f"the worker process of {FOLDER} ended: killed",
            "the worker process of large ended: killed",
        ),
        (f"draft {SERVED}: no output for 300 s", "draft Qwen/Qwen3-8B: no output for 300 s"),
        (
            "cannot connect to http://10.1.2.3:8000/v1/chat/completions: is the server running?",
            "cannot connect to its server: is the server running?",
        ),
        ("the connection to 10.1.2.3:8000 was refused", "the connection to an address was refused"),
        ('File "/usr/lib/python3/x.py", line 3', 'File "a path", line 3'),
        ("fd00::1: connection refused", "an address: connection refused"),
        ("the name gpu7 cannot be resolved", "the name an address cannot be resolved"),
        ("the server says 'Bearer sk-1234567890'", "the server says '***'"),
        ("set the API key in the variable X", "set the API key in the variable X"),
        ("at 12:30:45, std::bad_alloc, 40 tokens/s", "at 12:30:45, std::bad_alloc, 40 tokens/s"),
        ("needs 2.50 and/or 3 of 4", "needs 2.50 and/or 3 of 4"),
    ],
)
def test_a_message_keeps_its_cause(text: str, found: str) -> None:
    assert public().text(text) == found


word = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9)
host = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    st.builds(lambda a, b: f"{a}.{b}.internal", word, word),
)
port = st.integers(1024, 65535).map(str)
path = st.lists(word, min_size=1, max_size=4)
secret_texts = st.one_of(
    st.builds(lambda h, p, d: f"http://{h}:{p}/{d}/v1", host, port, word),
    st.builds(lambda u, w, h: f"https://{u}:{w}@{h}/v1/models", word, word, host),
    st.builds(lambda h, p: f"{h}:{p}", host, port),
    st.ip_addresses().map(str),
    path.map(lambda parts: "/" + "/".join(parts)),
    path.map(lambda parts: "~/" + "/".join(parts)),
    path.map(lambda parts: "C:\\" + "\\".join(parts)),
    path.map(lambda parts: "\\\\" + "\\".join(["host", *parts])),
    path.map(lambda parts: "'/" + " x/".join(parts) + "'"),
    word.map(lambda key: f"Bearer sk-{key}{key}"),
    word.map(lambda key: f"api_key={key}"),
)
plain = st.lists(st.sampled_from(["the", "engine", "cannot", "3.5", "model,", "step:"]), max_size=4)


def parts_of(secret: str) -> set[str]:
    """Return the words of a secret that must not be seen."""
    usual = {"http", "https", "api_key", "Bearer", "models", "internal"}
    found = {part for part in re.split(r"[^\w.]+", secret.replace("api_key=", "")) if part}
    return {part for part in found - usual if len(part) > 2}


@given(plain, secret_texts, plain, st.sampled_from(["{}", "({})", '"{}"', "{},", "{}: refused"]))
def test_no_part_of_a_location_or_key_is_left(
    before: list[str], secret: str, after: list[str], form: str
) -> None:
    around = ["zz"], ["zz"]
    text = " ".join([*around[0], *before, form.format(secret), *after, *around[1]])
    shown = public().text(text)
    usual = set(re.split(r"\W+", " ".join([*before, *after, form, "zz an address a path its"])))
    left = set(re.split(r"[^\w.]+", shown))
    assert not (parts_of(secret) - usual) & left, shown


names_of_keys = {"basic", "bearer", "password", "passwd", "secret", "token"}
usual_word = word.filter(lambda text: text not in names_of_keys)
usual = usual_word | st.sampled_from(["28,", "(3.5)", "and/or", "a-b", "50 %"])


@given(st.lists(usual, max_size=12))
def test_a_text_without_locations_stays_as_it_is(texts: list[str]) -> None:
    text = " ".join(texts)
    assert public().text(text) == text


TEXTS = (
    f"the worker process of {FOLDER} ended",
    "cannot connect to http://user:hunter2@gpu9.internal:8001/v1 (refused)",
    "[fd00:9::7]:8001 is gone, token=hunter2, see '/srv/secret logs/x.log'",
)


def test_no_response_names_a_location(caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = (Failure(EngineLost(text)) for text in TEXTS)
    streams = {0: first, 3: second}
    pair = Pair(
        target={"name": FOLDER, "stream_failures": streams, "judge_failures": {0: third}},
        draft={"name": SERVED, "stream_failures": {0: second}},
    )
    run = RunOptions(deterministic=True, target="/srv/secret", draft="http://10.1.2.3:8000/v1")

    async def work(gate: Gateway) -> None:
        card = (await gate.get("/v1/models")).json["data"][0]["dreamr"]
        assert (card["target"], card["draft"]) == ("large", "Qwen/Qwen3-8B")
        paths = ("/", "/v1/models/dreamr", "/health", "/ready", "/metrics")
        bodies = [(await gate.get(path)).body for path in paths[1:]]
        for options in ({"method": "target"}, {}, {"events": True}, {"events": True}):
            for stream in (True, False):
                found = await gate.ask(asked(stream=stream, dreamr=options))
                bodies.append(found.body)
        pair.errors = {"target": EngineLost(TEXTS[0]), "draft": EngineLost(TEXTS[2])}
        for model in gate.reasoner.models.values():
            await model.engine.aclose()
        while not all(map(gate.reasoner.models.failure, gate.reasoner.models)):
            await anyio.sleep(0.01)
        bodies += [(await gate.get(path)).body for path in paths]
        bodies.append((await gate.ask(asked(dreamr={"method": "target"}))).body)
        for body in bodies:
            for secret in (b"/srv", b"secret", b"10.1.2.3", b":8000", b"hunter2", b"gpu9", b"fd00"):
                assert secret not in body

    with caplog.at_level(logging.INFO):
        use(work, pair, options=run)
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert [text for text in TEXTS if text not in logged] == [], "the log says where"
