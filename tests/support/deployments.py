"""Deployments of the pair files of tests, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dreamr.pairs import PairFile, read_pair_file
from dreamr.serving.deploy import Format, deployment_files

PAIRS = Path(__file__).parents[1] / "serving" / "deploy" / "pairs"
SMALL = "pairs: {p: {target: m}}\n"  # of a file with one model, m


def pair_file(name: str, **environment: str) -> PairFile:
    path = PAIRS / f"{name}.yaml"
    return read_pair_file(path, environment=environment, needs_secrets=False)


def files(name: str, form: Format, **environment: str) -> dict[str, str]:
    return deployment_files(pair_file(name, **environment), form)


def compose(name: str) -> Any:
    return yaml.safe_load(files(name, "compose")["compose.yaml"])


def manifests(name: str) -> list[Any]:
    texts = [t for n, t in files(name, "kubernetes").items() if n.endswith((".yaml", ".example"))]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    return [document for document in found if "kind" in document]


def value_of(flag: str, command: list[str]) -> str:
    return command[command.index(flag) + 1]


def of_kind(kind: str, name: str) -> dict[str, Any]:
    return {m["metadata"]["name"]: m for m in manifests(name) if m["kind"] == kind}


def pods(name: str) -> dict[str, Any]:
    made = {**of_kind("Deployment", name), **of_kind("StatefulSet", name)}
    return {key: value["spec"]["template"] for key, value in made.items()}
