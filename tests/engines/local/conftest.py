"""Tiny models, saved and loaded once for all tests of the local engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamr.engines.local.load import Loaded
from support.local_models import FAMILIES, load_from, save_model

Models = dict[str, Loaded]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {family: save_model(family, base / family) for family in FAMILIES}


@pytest.fixture(scope="session")
def numpy_models(folders: dict[str, Path]) -> Models:
    return {family: load_from(folder) for family, folder in folders.items()}


@pytest.fixture(scope="session")
def torch_models(folders: dict[str, Path]) -> Models:
    return {family: load_from(folder, decoder="torch") for family, folder in folders.items()}


@pytest.fixture(scope="session", params=["numpy", "torch"])
def loaded_models(
    request: pytest.FixtureRequest, numpy_models: Models, torch_models: Models
) -> Models:
    """All families, with each of the two decoders."""
    return {"numpy": numpy_models, "torch": torch_models}[request.param]


@pytest.fixture(params=FAMILIES)
def loaded(request: pytest.FixtureRequest, loaded_models: Models) -> Loaded:
    return loaded_models[request.param]


@pytest.fixture
def text_model(loaded_models: Models) -> Loaded:
    return loaded_models["qwen3"]
