"""Coding agents as users install them, each with one call of its shell.

npm install -g @openai/codex @anthropic-ai/claude-code opencode-ai
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.listening import listening
from support.tool_pair import ToolPair

pytestmark = pytest.mark.server
QUESTION = "How much is six times seven?"
COMMAND = "echo $((6*7))"
SHELLS = {
    "exec_command": {"cmd": COMMAND},
    "Bash": {"command": COMMAND},
    "bash": {"command": COMMAND, "description": "Multiply"},
}
CODEX = """
model = "dreamr"
model_provider = "dreamr"

[model_providers.dreamr]
name = "dreamr"
base_url = "{url}/v1"
wire_api = "responses"
"""
# A server of the Model Context Protocol with one tool, which multiplies.
MCP = """
import json, sys

for line in sys.stdin:
    asked = json.loads(line)
    match asked["method"]:
        case "initialize":
            version = asked["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}}
            result["serverInfo"] = {"name": "sums", "version": "1"}
        case "tools/list":
            number = {"type": "integer"}
            schema = {"type": "object", "properties": {"first": number, "second": number}}
            tool = {"name": "multiply", "description": "Multiply.", "inputSchema": schema}
            result = {"tools": [{**tool, "annotations": {"readOnlyHint": True}}]}
        case "tools/call":
            given = asked["params"]["arguments"]
            text = f"product {given['first'] * given['second']}"
            result = {"content": [{"type": "text", "text": text}]}
        case _:
            result = {}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""
OPENCODE = {
    "provider": {
        "dreamr": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"apiKey": "none"},
            "models": {"dreamr": {"tool_call": True}},
        }
    },
    "model": "dreamr/dreamr",
    "small_model": "dreamr/dreamr",
    "permission": {"bash": "allow"},
    "share": "disabled",
    "autoupdate": False,
}


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


def test_codex_calls_a_tool_of_a_namespace(tmp_path: Path) -> None:
    """Codex offers the tools of a server of the Model Context Protocol as a namespace."""
    (tmp_path / "sums.py").write_text(MCP, encoding="utf-8")
    settings = tmp_path / ".codex" / "config.toml"
    settings.parent.mkdir()
    server = f'[mcp_servers.sums]\ncommand = "{sys.executable}"\nargs = ["{tmp_path}/sums.py"]\n'
    call = {"mcp__sums__multiply": {"first": 6, "second": 7}}
    with listening(ToolPair(arguments=call, words=("The tool said: ", ""))) as url:  # type: ignore[arg-type]
        settings.write_text(CODEX.format(url=url) + server, encoding="utf-8")
        said = asked(["codex", "exec", "--skip-git-repo-check", QUESTION], tmp_path)
    assert "The tool said:" in said
    assert "product 42" in said


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


def test_opencode_runs_a_command_over_chat_completions(url: str, tmp_path: Path) -> None:
    settings = json.loads(json.dumps(OPENCODE))
    settings["provider"]["dreamr"]["options"]["baseURL"] = f"{url}/v1"
    said = asked(
        ["opencode", "run", "--model", "dreamr/dreamr", QUESTION],
        tmp_path,
        OPENCODE_CONFIG_CONTENT=json.dumps(settings),
        OPENCODE_DISABLE_MODELS_FETCH="1",
        PWD=str(tmp_path),
    )
    assert "The tool said: 42" in said
