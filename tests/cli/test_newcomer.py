"""A newcomer starts the bundled pair, asks it and ends it, by the guide alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dreamr.serving.launch.leftovers import marked
from dreamr.serving.launch.ports import free_port
from support.processes import environment

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "launch.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECONDS = 240
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="dreamr up needs Linux"),
]


def test_the_guide_leads_from_an_empty_folder_to_an_answer(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    pytest.importorskip("torch")
    folder, programs, port = tmp_path / "empty", tmp_path / "bin", free_port()
    for one in (folder, programs):
        one.mkdir()
    for name, more in (("dreamr", "-m dreamr "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {more}"$@"\n')
        (programs / name).chmod(0o700)
    variables = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "DREAMR_DETERMINISTIC": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment(**variables), timeout=SECONDS, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    _, _, text = GUIDE.read_text(encoding="utf-8").partition("## Try it\n")
    (_, start), (_, ask), (_, answer), (_, end) = BLOCK.findall(text.partition("\n## ")[0])
    # Another port than that of gateways that may run here, and no balancer to wait for.
    begun, wrote, started = start.partition("# writes pair.yaml\n")
    assert wrote, "the guide writes a pair file"
    try:
        run("sh", "-ec", begun)
        file = folder / "pair.yaml"
        changed = file.read_text().replace("  port: 8500\n", f"  port: {port}\n  drain: 0\n")
        assert "drain: 0" in changed
        file.write_text(changed)
        assert "Answer: 28" in run("sh", "-ec", started)
        asked = ask.replace("localhost:8500", f"127.0.0.1:{port}")
        assert run(sys.executable, "-c", asked) == answer
        assert "empty: down" in run("sh", "-ec", end)
    except BaseException:
        subprocess.run(
            [programs / "dreamr", "down", "empty"],
            env=environment(**variables), timeout=SECONDS, capture_output=True,
        )  # fmt: skip
        raise
    assert not marked(tmp_path / "state" / "dreamr" / "empty")
