"""The application: its commands, and what becomes of errors.

Exit status: 0 done, 1 the run failed, 2 the command line is wrong, 130 interrupted. Whatever goes
wrong is one line on standard error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from dreamr._option_specs import BadOption
from dreamr._version import __version__
from dreamr.cli.usage import usage_message
from dreamr.engines import OpenModel, open_model
from dreamr.errors import DreamrError

FAILED, USAGE, INTERRUPTED = 1, 2, 130
ENVIRONMENT = (
    "Method, models, sampling and limits can be set in the environment too, --max-tokens as "
    "DREAMR_MAX_TOKENS for example; a flag goes first. "
    "Exit status: 0 done, 1 the run failed, 2 usage, 130 interrupted."
)


def _add_run(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.run import run_command

    app.command("run", epilog=ENVIRONMENT)(run_command(open_model))


def _add_bench(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.bench import bench_app

    app.add_typer(bench_app(open_model), name="bench")


def _add_simulate(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.simulate import simulate_command

    app.command("simulate")(simulate_command)


def _add_train(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.train import train_app

    app.add_typer(train_app(open_model), name="train")


def _add_doctor(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.doctor import doctor_command

    app.command("doctor")(doctor_command(open_model))


def _add_calibrate(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.calibrate import calibrate_command

    app.command("calibrate")(calibrate_command(open_model))


def _add_serve(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.serve import serve_command

    app.command("serve", epilog=ENVIRONMENT)(serve_command(open_model))


# Each imports what it needs: nobody waits for the rooms of another command.
_COMMANDS: dict[str, Callable[[typer.Typer, OpenModel], None]] = {
    "run": _add_run,
    "serve": _add_serve,
    "bench": _add_bench,
    "calibrate": _add_calibrate,
    "doctor": _add_doctor,
    "simulate": _add_simulate,
    "train": _add_train,
}


def build_app(open_model: OpenModel = open_model, name: str | None = None) -> typer.Typer:
    """The command of this name, over models from `open_model`; all, if there is none such."""
    app = typer.Typer(
        name="dreamr",
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_dreamr)
    for add in [_COMMANDS[name]] if name in _COMMANDS else _COMMANDS.values():
        add(app, open_model)
    return app


def main(argv: Sequence[str] | None = None, *, open_model: OpenModel = open_model) -> int:
    """Run the command line `argv` (default: the process's) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a failure.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        arguments = sys.argv[1:] if argv is None else list(argv)
        app = build_app(open_model, next((a for a in arguments if not a.startswith("-")), None))
        status = app(arguments, prog_name="dreamr", standalone_mode=False)
        sys.stdout.flush()
        # typer turns an interrupt into a status.
        return _fail("interrupted", INTERRUPTED) if status == INTERRUPTED else status or 0
    except TyperException as error:
        if not error.format_message():  # a command without arguments: its help is on the screen
            return error.exit_code
        return _fail(usage_message(error), error.exit_code)
    except BadOption as error:
        return _fail(str(error), USAGE)
    except DreamrError as error:
        return _fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left. Keep the interpreter from flushing into nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("DREAMR_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(f"internal error, {what} (DREAMR_DEBUG=1 shows where)", FAILED)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dreamr {__version__}")
        raise typer.Exit


def _dreamr(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Make a large multimodal model reason faster: a draft proposes steps, the target judges."""


def _fail(message: str, status: int) -> int:
    line = " ".join(message.split())
    print(f"dreamr: {line}", file=sys.stderr)
    return status
