"""Every shell and Python block of the README, the quickstart and the guides runs.

Blocks of a page run in order in one folder that holds the example receipt. Model servers in them
are scripted; a gateway runs on the test bed. A block that follows as ```text is the output, where
`...` stands for anything. `<!-- skip: REASON -->` before a block says why it cannot run here.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from dreamr_testbed import RECEIPT

from dreamr import Reasoner, RunOptions
from support.pairs import RIGHT, WRONG
from support.served import Served
from support.sockets import on_socket

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/quickstart.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "guides").glob("*.md"))
FENCE = re.compile(
    r"(?:<!-- skip: (?P<reason>[^>]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
RUN = ("sh", "python")
SKIPPED = {
    "installation": 3,
    "installs packages": 4,
    "long benchmark": 2,
    "long sweep": 1,
    "long training": 4,
    "long-running server": 15,
    "needs a GPU": 14,
    "needs a Ray cluster": 1,
    "needs a Redis server": 1,
    "needs a registry": 1,
    "needs a server": 4,
    "needs examples/timesheet.py of a checkout": 1,
    "needs models": 2,
    "needs servers": 2,
    "needs the Hugging Face hub": 1,
    "needs the anthropic package": 1,
    "needs your files": 6,
    "not tried": 5,
}
WHOLE = "".join(RIGHT)


@dataclass(frozen=True)
class Block:
    """A block of a page, with the output that is stated after it."""

    page: str
    number: int
    language: str
    code: str
    reason: str | None
    output: str | None = None


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    text = (ROOT / page).read_text(encoding="utf-8")
    end = 0
    for match in FENCE.finditer(text):
        follows, end = not text[end : match.start()].strip(), match.end()
        code = inspect.cleandoc("\n" + match["code"]) if match["indent"] else match["code"]
        if match["language"] == "text" and found and follows:
            last = found[-1]
            found[-1] = Block(last.page, last.number, last.language, last.code, last.reason, code)
        elif match["language"] in RUN:
            found.append(Block(page, len(found), match["language"], code, match["reason"]))
    return found


BLOCKS = {page: blocks(page) for page in PAGES}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Addresses in the pages, with those of the servers that stand for them."""
    target = Served(script=WHOLE, token_probability=0.9)
    draft = Served(script=RIGHT[0] + WRONG + RIGHT[2], token_probability=0.9)
    for served in (target, draft):
        served.said = lambda body: continued(body)
    with on_socket(target) as target_url, on_socket(draft) as draft_url, gateway() as gateway_url:
        yield {
            "http://localhost:8000": target_url,
            "http://localhost:8001": draft_url,
            "http://localhost:8500": gateway_url,
        }


def continued(body: dict[str, Any]) -> str:
    """What the models write: the rest of one solution, or the whole."""
    last = body["messages"][-1] if "messages" in body else {"role": "user", "content": ""}
    prefix = str(last["content"]) if last["role"] == "assistant" else ""
    return WHOLE[len(prefix) :] if WHOLE.startswith(prefix) else RIGHT[2]


@contextlib.contextmanager
def gateway() -> Iterator[str]:
    """A gateway on the test bed, as `dreamr serve` starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dreamr", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if match := re.search(r"http://[\d.]+:\d+", line):
                break
        else:
            raise AssertionError("the gateway did not start")
        yield match[0]
    finally:
        process.terminate()
        rest = process.communicate(timeout=30)
        assert process.returncode == 0, rest


def run_shell(code: str, *, known: bool) -> str:
    """Run a block; if its output is known, wait for the draft on a busy machine too."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    steady = {"DREAMR_DETERMINISTIC": "1"} if known else {}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": path, "COLUMNS": "100", **steady},
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class SteadyReasoner(Reasoner):
    """A Reasoner that waits for the draft on a busy machine too, unless it is told otherwise."""

    def __init__(self, options: RunOptions | None = None, **more: Any) -> None:
        super().__init__(options or RunOptions(deterministic=True), **more)


def run_python(code: str, *, known: bool) -> str:
    """Run a block, as `run_shell`."""
    compiled = compile(code, "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "__main__"}
    steady: contextlib.AbstractContextManager[pytest.MonkeyPatch | None]
    steady = pytest.MonkeyPatch.context() if known else contextlib.nullcontext()
    with contextlib.redirect_stdout(io.StringIO()) as out, steady as patch:
        if patch is not None:
            patch.setattr("dreamr.Reasoner", SteadyReasoner)
        result = eval(compiled, names)
        if inspect.iscoroutine(result):

            async def main() -> None:
                await result

            anyio.run(main)
    return out.getvalue()


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(
    page: str, servers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    if not any("dreamr_testbed receipt.png" in block.code for block in BLOCKS[page]):
        (tmp_path / "receipt.png").write_bytes(RECEIPT.read_bytes())
    for block in BLOCKS[page]:
        if block.reason:
            continue
        code = block.code
        for address, real in servers.items():
            code = code.replace(address, real)
        try:
            run = run_shell if block.language == "sh" else run_python
            got = run(code, known=block.output is not None)
        except Exception as error:
            raise AssertionError(f"{page}, block {block.number}:\n{block.code}") from error
        if block.output is not None:
            checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
            assert checker.check_output(block.output, got, flags), (block.code, got)


def test_only_these_blocks_are_skipped() -> None:
    """A block that stops being run is noticed here."""
    reasons = (b.reason for page in PAGES for b in BLOCKS[page] if b.reason is not None)
    assert Counter(reason.partition(",")[0] for reason in reasons) == SKIPPED
