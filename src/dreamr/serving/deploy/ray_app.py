"""Gateway replicas under Ray Serve: `serve run dreamr.serving.deploy.ray_app:build pair=FILE`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import serve
from starlette.types import ASGIApp

from dreamr._option_specs import BadOption
from dreamr.engines import open_model
from dreamr.pairs import PairFile, read_pair_file, with_keys
from dreamr.serving.deploy.gateway_file import dump
from dreamr.serving.deploy.hosted import hosted_app
from dreamr.serving.deploy.ray import DEPLOYMENT, deployment_options


def build(args: Mapping[str, Any]) -> serve.Application:
    """Return the application of Ray Serve.

    Args:
        args: `pair`: the path of a pair file, or its contents.

    Raises:
        BadOption: If there is no pair, or it has faults.
    """
    pair = args.get("pair")
    if not isinstance(pair, str | Mapping):
        raise BadOption("the application needs a pair file: serve run IMPORT_PATH pair=FILE")
    # API keys may be known to the replicas only.
    options = deployment_options(_read(pair, needs_secrets=False).gateway)

    def replica() -> ASGIApp:
        return replica_app(pair)

    deployment = serve.deployment(name=DEPLOYMENT, **options)
    found: serve.Application = deployment(serve.ingress(replica)()).bind()
    return found


def replica_app(pair: str | Mapping[str, Any]) -> ASGIApp:
    """Return the application of one replica; it opens the models when it starts.

    Args:
        pair: The path of a pair file, or its contents.

    Raises:
        BadOption: If the pair has faults.
    """
    pair_file = _read(pair)
    pairs = {name: pair_file.run_options(name) for name in pair_file.pairs}
    return hosted_app(pairs, pair_file.gateway, with_keys(pair_file, open_model))


def _read(pair: str | Mapping[str, Any], *, needs_secrets: bool = True) -> PairFile:
    if isinstance(pair, str):
        return read_pair_file(pair, needs_secrets=needs_secrets)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.yaml"
        path.write_text(dump(dict(pair)), encoding="utf-8")
        return read_pair_file(path, needs_secrets=needs_secrets)
