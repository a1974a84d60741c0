"""Files of deployments pass the checkers of their formats, where these are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import Format, deployment_files, write_files

PAIRS = Path(__file__).parent / "pairs"
DATA = Path(__file__).parents[3] / "deploy"
NAMES = ["servers", "started", "replicas"]


def written(pair: str, form: Format, folder: Path) -> Path:
    file = read_pair_file(PAIRS / f"{pair}.yaml", environment={}, needs_secrets=False)
    write_files(deployment_files(file, form), folder, file)
    return folder


def program(name: str) -> str:
    """Return a program beside Python's or on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or pytest.skip(f"{name} is not installed")


def complaints(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("pair", NAMES)
def test_manifests_follow_the_schema_of_kubernetes(pair: str, tmp_path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    folder = written(pair, "kubernetes", tmp_path)
    kinds = []
    for path in [*folder.glob("*.yaml"), folder / "secrets.yaml.example"]:
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            kind = document.get("kind")
            if kind in (None, "Kustomization", "ServiceMonitor"):  # without a schema there
                continue
            validator.validate(document, "1.31", strict=True)
            kinds.append(kind)
    expected = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Secret"}
    assert set(kinds) >= expected


@pytest.mark.parametrize("pair", NAMES)
def test_the_compose_file_follows_its_schema(pair: str, tmp_path: Path) -> None:
    path = written(pair, "compose", tmp_path) / "compose.yaml"
    checker = program("check-jsonschema")
    assert not complaints(checker, "--builtin-schema", "vendor.compose-spec", str(path))


@pytest.mark.parametrize("pair", NAMES)
def test_systemd_understands_the_units(pair: str, tmp_path: Path) -> None:
    folder = written(pair, "systemd", tmp_path)
    verifier = program("systemd-analyze")
    units = sorted(str(path) for path in folder.iterdir() if path.suffix in (".service", ".target"))
    for unit in map(Path, units):  # programs are not installed here
        text = re.sub(r"=/opt/dreamr/bin/dreamr|=/usr/bin/env", "=/bin/true", unit.read_text())
        unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [verifier, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60
    )
    # It exits with 0 in spite of unknown keys, and warns about units of this machine.
    assert not [line for line in (done.stdout + done.stderr).splitlines() if "dreamr" in line]


def test_the_image_follows_the_rules_of_hadolint() -> None:
    checker = program("hadolint")
    assert not complaints(checker, str(DATA / "Containerfile"))
