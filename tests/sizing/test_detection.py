"""What a machine has: GPUs by a program named nvidia-smi, and its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.sizing import cpu_device, detect_gpus


def program(folder: Path, script: str) -> None:
    """A program named nvidia-smi."""
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_gpus_are_those_that_nvidia_smi_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "echo 'NVIDIA L4, 23034'; echo 'NVIDIA L40S, 46068'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert [one.kind for one in detect_gpus()] == ["L4", "L40S"]


@pytest.mark.parametrize(
    "script", ["echo 'NVIDIA L4, 23034'; exit 9", "echo 'No devices were found'"]
)
def test_without_a_driver_there_are_no_gpus(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert detect_gpus() == ()


def test_without_the_program_there_are_no_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect_gpus() == ()


def test_the_cpu_has_memory_for_models() -> None:
    assert cpu_device().is_cpu
    assert cpu_device().memory > 0
