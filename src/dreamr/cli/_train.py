"""`dreamr train`: make a draft write what its target accepts, in fewer words."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dreamr._reasoner import OpenModel
from dreamr.alignment import SapoOptions
from dreamr.cli._flags import option_parameters, with_flags
from dreamr.cli._progress import shown
from dreamr.cli._screen import stderr_console
from dreamr.errors import Unsupported

_SHOWN = ("reward", "acceptance", "right", "tokens", "steps")

Out = Annotated[
    Path, typer.Option("--out", help="Folder of the training; one that was interrupted goes on.")
]


def train_app(open_model: OpenModel) -> typer.Typer:
    """The commands of `dreamr train`."""
    app = typer.Typer(no_args_is_help=True, help="Train a draft to write what its target accepts.")
    app.command("sapo")(_sapo_command(open_model))
    return app


def _sapo_command(open_model: OpenModel) -> Callable[..., None]:
    def sapo(out: Out, **options: Any) -> None:
        """Train a draft by reinforcement learning (SAPO): the target grades what it writes.

        The reward is right answers, accepted steps and short reasoning. Interrupted, the same
        command goes on from the last checkpoint; log.csv in the folder has a row a step. At the
        end DIR/draft holds the trained draft.
        """
        chosen = SapoOptions(**options)
        with _quiet():
            sapo_module = _import_sapo()
            with shown(stderr_console(), chosen.steps, "steps") as show:
                model = sapo_module.train_sapo(
                    chosen,
                    out,
                    open_model=open_model,
                    on_step=lambda step, row: show(step, _figures(row)),
                )
        print(model)

    with_flags(sapo, option_parameters(SapoOptions, "DREAMR_TRAIN_"))
    return sapo


def _import_sapo() -> Any:
    try:
        from dreamr.alignment import _sapo
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"training needs {error.name}, which is not installed: pip install 'dreamr[train]'"
        ) from error
    return _sapo


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries underneath talk about themselves; people have asked about their training."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _figures(row: Mapping[str, float | None]) -> str:
    known = {name: row[name] for name in _SHOWN if row.get(name) is not None}
    return ", ".join(f"{name} {value:.3g}" for name, value in known.items())
