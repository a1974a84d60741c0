"""Commands about pairs with bad input: one line, the usual exit status, and nothing left over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dreamr.cli import main, up
from dreamr.serving.launch.instance import Instance
from support.processes import environment

LAUNCH = """\
models:
  m:
    launch:
      engine: vllm
      model: org/x
pairs:
  p:
    target: m
"""
INIT = [
    "pair", "init", "--out", "new.yaml", "--target", "Qwen/Qwen3-VL-32B-Instruct", "--draft",
    "Qwen/Qwen3-VL-2B-Instruct",
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    text = LAUNCH.replace("org/x", "org/x\n      command: [/no/vllm]")
    (tmp_path / "pair.yaml").write_text(f"{text}gateway: {{port: 0}}\n")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 2) -> str:
    assert main(list(argv)) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("dreamr: ")
    assert said.err.count("\n") == 1
    assert len(said.err) < 400
    return said.err


def left(folder: Path) -> list[str]:
    """What is in the folder for states."""
    root = folder / "state" / "dreamr"
    return [path.name for path in root.iterdir()] if root.is_dir() else []


@pytest.mark.parametrize(
    ("argv", "status", "expected"),
    [
        (["up", "missing.yaml"], 2, "cannot read the pair file missing.yaml: No such file"),
        (["up", "."], 2, "cannot read the pair file .: Is a directory"),
        (["up", "~no-such-user/x.yaml"], 2, "No such file or directory"),
        (["up", "pair.yaml"], 2, "model m: vllm is not installed, there is no program /no/vllm"),
        (["up", "pair.yaml", "--start-timeout", "0"], 2, "--start-timeout must be at least 1"),
        (["up", "pair.yaml", "--start-timeout", "nan"], 2, "--start-timeout must be at least 1"),
        (["down", "p", "--timeout", "nan"], 2, "--timeout must be at least 0, not nan"),
        (["down", "p"], 1, "p is not up"),
        (["down", "~no-such-user"], 2, "the name of a pair file has letters"),
        (["down", "~no-such-user/x.yaml"], 2, "cannot read the pair file"),
        (["down", "x" * 300], 2, "the name of a pair file has letters"),
        (["logs", "../p"], 2, "the name of a pair file has letters"),
        (["logs", "p", "-n", "-5"], 2, "--lines must be at least 0, not -5"),
        (["run", "x", "--pair", "~no-such-user/x.yaml"], 2, "cannot read the pair file"),
        (["run", "x", "--pair", "pair.yaml"], 1, "is not running: run dreamr up"),
        (["run", "x", "--pair", "pair.yaml:q"], 2, "pair.yaml has no pair 'q': it has p"),
        ([*INIT, "--gpus", "x" * 999], 2, "unknown GPU 'xxx"),
        ([*INIT, "--gpus", "1xT4"], 1, "use more GPUs, or weights of 8 or 4 bits"),
        (["deploy", "compose", "missing.yaml", "--out", "c"], 2, "cannot read the pair file"),
        (["up", "pair.yaml:q"], 2, "a whole pair file, which has p: leave out ':q'"),
        (["up", "missing.yaml:p"], 2, "cannot read the pair file missing.yaml:p"),
        (["down", "pair.yaml:p"], 2, "a whole pair file, which has p: leave out ':p'"),
        (["deploy", "compose", "pair.yaml:p", "--out", "c"], 2, "pair.yaml:p names a pair"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    argv: list[str],
    status: int,
    expected: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert expected in refused(capsys, *argv, status=status)
    assert left(folder) == []
    assert [path.name for path in folder.glob("*")] in (["pair.yaml"], ["pair.yaml", "state"])


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_a_state_that_cannot_be_written_is_one_line(
    detach: tuple[str, ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "pair.yaml"))
    said = refused(capsys, "up", "pair.yaml", *detach, status=1)
    assert "Not a directory; free space on its disk, or set XDG_STATE_HOME to another" in said


def test_a_pair_in_the_background_that_cannot_say_why_it_ends_is_one_line(
    folder: Path,
) -> None:
    (folder / "pair.yaml").write_text(f"name: bills\n{(folder / 'pair.yaml').read_text()}")
    (folder / "state" / "dreamr" / "bills" / "dreamr.log").mkdir(parents=True)
    command = [sys.executable, "-m", "dreamr", "up", "pair.yaml", "--detach"]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("dreamr: bills ended with status 2 and nothing in ")
    assert done.stderr.endswith("Without --detach, dreamr up says why\n")
    assert done.stderr.count("\n") == 1


def test_a_pair_in_the_background_says_why_it_ends_though_its_log_is_late(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = (
        "import sys, time\nlog = open(sys.argv[1], 'ab')\nlines = sys.stdin.buffer.read()\n"
        "time.sleep(0.5)\nlog.write(lines)"
    )
    monkeypatch.setattr(up, "keep_log", lambda log: (sys.executable, "-S", "-c", late, str(log)))
    assert "vllm is not installed" in refused(capsys, "up", "pair.yaml", "--detach")


def test_a_pair_file_that_only_this_process_can_read_is_not_started_in_the_background(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, given = os.pipe()
    os.write(given, (folder / "pair.yaml").read_bytes())
    os.close(given)
    said = refused(capsys, "up", f"/dev/fd/{output}", "--detach")
    os.close(output)
    assert f"/dev/fd/{output} is not a regular file" in said
    assert left(folder) == []


def test_ports_in_use_are_named_with_their_process(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]
        file = folder / "pair.yaml"
        file.write_text(f"{LAUNCH}gateway: {{port: {port}}}\n")
        said = refused(capsys, "up", "pair.yaml")
        assert f"port {port} of the gateway is in use by process {os.getpid()}" in said
        assert "or choose another 'port' under 'gateway'" in said
        more = f"org/x\n      command: ['{sys.executable}']\n      port: {port}"
        file.write_text(f"{LAUNCH.replace('org/x', more)}gateway: {{port: 0}}\n")
        said = refused(capsys, "up", "pair.yaml")
        assert f"port {port} of model m is in use by process {os.getpid()}" in said
    assert left(folder) == []


def test_a_pair_that_is_up_is_named_before_its_port(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        gateway = f"gateway: {{port: {link.getsockname()[1]}}}"
        (folder / "pair.yaml").write_text(f"name: bills\n{LAUNCH}{gateway}\n")
        instance = Instance("bills", folder / "pair.yaml", "digest")
        said = refused(capsys, "up", "pair.yaml", status=1)
        (folder / "other.yaml").write_text(f"name: bills\n{LAUNCH}{gateway}\n")
        other = refused(capsys, "down", "other.yaml")
        instance.release()
    assert "bills is up from another file, " in other
    assert "pair.yaml: name it as bills" in other
    assert f"bills is up already (process {os.getpid()}, " in said
    assert "run 'dreamr down bills' first, or choose another 'name'" in said


def test_options_of_the_gateway_are_named_as_in_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pair.yaml").write_text(f"{LAUNCH}gateway: {{port: 0, keys_file: keys.txt}}\n")
    said = refused(capsys, "up", "pair.yaml")
    assert "keys_file" in said
    assert "--" not in said


def test_a_server_that_is_not_there_is_awaited_by_a_key_of_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]  # nothing listens there after the block
    url = f"url: http://127.0.0.1:{port}/v1"
    text = f"models: {{m: {{{url}}}}}\npairs: {{p: {{target: m}}}}\ngateway: {{port: 0}}\n"
    (folder / "pair.yaml").write_text(text)
    assert main(["up", "pair.yaml", "--no-doctor"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "'wait' under 'gateway' waits for a server that is still starting" in said
    assert "--" not in said
    assert left(folder) == []


def test_a_state_folder_that_cannot_be_read_does_not_hide_other_pairs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder / "state" / "dreamr"
    root.mkdir(parents=True)
    (root / "locked").symlink_to("x" * 300)  # an error of the system, also for the superuser
    said = refused(capsys, "down", "locked", status=1)
    assert "cannot read state" in said
    instance = Instance("bills", folder / "pair.yaml", "digest")
    assert main(["ps"]) == 0
    instance.release()
    listed = capsys.readouterr().out
    assert "bills" in listed
    assert "locked" not in listed


def test_a_damaged_state_is_listed_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = folder / "state" / "dreamr" / "p" / "state.json"
    state.parent.mkdir(parents=True)
    for text in ("", "[]", '{"began": "x"}', "\0"):
        state.write_text(text)
        assert main(["ps"]) == 0
        assert "dead: run dreamr down p" in capsys.readouterr().out
        assert main(["down", "p"]) == 0
        assert "had died" in capsys.readouterr().err
        assert not state.exists()
