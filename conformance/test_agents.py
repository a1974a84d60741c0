"""Coding agents as users install them, each with one call of its shell.

npm install -g @openai/codex @anthropic-ai/claude-code
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.listening import listening
from support.tool_pair import ToolPair

pytestmark = pytest.mark.server
QUESTION = "How much is six times seven?"
SHELLS = {"exec_command": {"cmd": "echo $((6*7))"}, "Bash": {"command": "echo $((6*7))"}}
CODEX = """
model = "dreamr"
model_provider = "dreamr"

[model_providers.dreamr]
name = "dreamr"
base_url = "{url}/v1"
wire_api = "responses"
"""


@pytest.fixture
def url() -> Iterator[str]:
    with listening(ToolPair(arguments=SHELLS, words=("The tool said: ", ""))) as root:
        yield root


def asked(command: list[str], folder: Path, **variables: str) -> str:
    """Run an agent in a folder that is its home too, and return what it prints."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    found = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return found.stdout


def test_codex_runs_a_command_over_responses(url: str, tmp_path: Path) -> None:
    settings = tmp_path / ".codex" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(CODEX.format(url=url), encoding="utf-8")
    said = asked(["codex", "exec", "--skip-git-repo-check", QUESTION], tmp_path)
    assert "The tool said:" in said
    assert "42" in said


def test_claude_code_runs_a_command_over_messages(url: str, tmp_path: Path) -> None:
    said = asked(
        ["claude", "--allowedTools", "Bash", "-p", QUESTION],
        tmp_path,
        ANTHROPIC_BASE_URL=url,
        ANTHROPIC_API_KEY="none",
        ANTHROPIC_MODEL="dreamr",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    assert "The tool said: 42" in said
