"""The tiny models, saved and loaded once for all tests of the local engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from local_models import FAMILIES, save_model

from dreamr.engines.local.load import Loaded, load
from dreamr.engines.local.options import LocalOptions


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {family: save_model(family, base / family) for family in FAMILIES}


@pytest.fixture(scope="session")
def loaded_models(folders: dict[str, Path]) -> dict[str, Loaded]:
    torch.set_num_threads(1)
    with torch.inference_mode():
        return {family: load(str(folder), LocalOptions()) for family, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def loaded(request: pytest.FixtureRequest, loaded_models: dict[str, Loaded]) -> Loaded:
    return loaded_models[request.param]


@pytest.fixture
def text_model(loaded_models: dict[str, Loaded]) -> Loaded:
    return loaded_models["qwen3"]
