"""Clients see the names of models, not the folders and servers that they are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.engines import Failure
from dreamr.errors import EngineLost
from dreamr.serving.gateway.public_text import PublicText, public_name
from support.gateways import Gateway, asked, use
from support.pairs import Pair

FOLDER = "/srv/models/secret/large"
SERVED = "Qwen/Qwen3-8B at http://10.1.2.3:8000/v1"


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
        ('File "/usr/lib/python3/x.py", line 3', 'File "x.py", line 3'),
        ("needs 2.50 and/or 3 of 4", "needs 2.50 and/or 3 of 4"),
    ],
)
def test_a_message_keeps_its_cause(text: str, found: str) -> None:
    assert PublicText([FOLDER, SERVED]).text(text) == found


def test_no_response_names_a_location() -> None:
    lost = Failure(EngineLost(f"the worker process of {FOLDER} ended"))
    pair = Pair(
        target={"name": FOLDER, "stream_failures": {0: lost, 3: lost}},
        draft={"name": SERVED, "stream_failures": {0: lost}},
    )

    async def work(gate: Gateway) -> None:
        card = (await gate.get("/v1/models")).json["data"][0]["dreamr"]
        assert (card["target"], card["draft"]) == ("large", "Qwen/Qwen3-8B")
        bodies = [
            (await gate.get(path)).body for path in ("/v1/models/dreamr", "/health", "/metrics")
        ]
        for options in ({"method": "target"}, {}, {"events": True}, {"events": True}):
            for stream in (True, False):
                found = await gate.ask(asked(stream=stream, dreamr=options))
                bodies.append(found.body)
        for body in bodies:
            for secret in (b"/srv", b"secret", b"10.1.2.3", b"8000/v1"):
                assert secret not in body

    use(work, pair)
