"""`dreamr deploy`: write files that run a pair and its gateway on other machines."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dreamr._messages import short_path
from dreamr._option_specs import OptionSpec
from dreamr.cli.epilog import epilog
from dreamr.cli.flags import Declared, command
from dreamr.pairs import read_pair_file
from dreamr.serving.deploy import FORMATS, Format, deployment_files, warnings, write_files
from dreamr.serving.deploy.plan import service_name

_GUIDE = "Guide: docs/guides/deployment.md"
_HELP: dict[Format, str] = {
    "compose": "Write files for Docker Compose: engines, gateway and monitoring on one machine.",
    "kubernetes": "Write manifests for Kubernetes: engines, gateways that scale, and monitoring.",
    "ray": "Write a configuration of Ray Serve: gateway replicas, and engines by Ray Serve LLM.",
    "systemd": "Write systemd units: engines and gateway as services of one machine.",
}
_NEXT: dict[Format, str] = {
    "compose": "cd {out} && docker compose up -d",
    "kubernetes": "kubectl apply -k {out}",
    "ray": "serve deploy {out}/serve.yaml",
    "systemd": "copy the units to /etc/systemd/system, the rest to /etc/dreamr/{name}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployOptions:
    """What to deploy, and where to write it."""

    pair: Annotated[
        Path, OptionSpec("Pair file.", "Arguments", positional=True, flags=("FILE",), reads="*")
    ]
    out: Annotated[Path, OptionSpec("Folder for the files; it is created.", "Options")]


def deploy_app() -> typer.Typer:
    """Return the commands of `dreamr deploy`."""
    app = typer.Typer(
        no_args_is_help=True, help="Write files that run a pair and its gateway elsewhere."
    )
    for form in FORMATS:
        example = f"dreamr deploy {form} pair.yaml --out {form}"
        text = epilog(example, notes=(_GUIDE,))
        app.command(form, epilog=text)(_command(form))
    return app


def _command(form: Format) -> Callable[..., None]:
    body = partial(_deploy, form=form)
    body.__doc__ = (
        f"{_HELP[form]}\n\nValues of secrets are left open. Earlier files in the folder are "
        "replaced."
    )
    return command(body, Declared(DeployOptions))


def _deploy(options: DeployOptions, form: Format) -> None:
    pair_file = read_pair_file(options.pair, needs_secrets=False)
    files = deployment_files(pair_file, form)
    write_files(files, options.out, pair_file)
    for warning in warnings(pair_file, form):
        print(f"warning: {warning}", file=sys.stderr)
    out, count = short_path(options.out), len(files)
    after = _NEXT[form].format(out=shlex.quote(out), name=service_name(pair_file.name))
    print(f"{count} file{'s' if count > 1 else ''} in {out}; next: {after}")
