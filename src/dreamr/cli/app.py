"""The application: its commands, and the handling of errors.

Exit status: 0 success, 1 failure, 2 wrong command line, 130 interrupted. Every error is one line on
standard error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from dreamr._messages import describe
from dreamr._option_specs import BadOption
from dreamr._version import __version__
from dreamr.cli.epilog import ENVIRONMENT, EXIT_STATUS, epilog
from dreamr.cli.usage import usage_message
from dreamr.engines import OpenModel, open_model
from dreamr.errors import DreamrError

FAILED, USAGE, INTERRUPTED = 1, 2, 130
_EPILOG = epilog(
    'dreamr run "What do tea and milk cost together?" -a receipt.png',
    "dreamr serve --target http://gpu1:8000/v1 --draft http://gpu2:8000/v1",
    "dreamr doctor --target http://gpu1:8000/v1 --draft http://gpu2:8000/v1",
    notes=(ENVIRONMENT, EXIT_STATUS),
)


def _add_run(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.run import EPILOG, run_command

    app.command("run", epilog=EPILOG)(run_command(open_model))


def _add_bench(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.bench import bench_app

    app.add_typer(bench_app(open_model), name="bench")


def _add_simulate(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.simulate import EPILOG, simulate_command

    app.command("simulate", epilog=EPILOG)(simulate_command)


def _add_train(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.train import train_app

    app.add_typer(train_app(open_model), name="train")


def _add_doctor(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.doctor import EPILOG, doctor_command

    app.command("doctor", epilog=EPILOG)(doctor_command(open_model))


def _add_calibrate(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.calibrate import EPILOG, calibrate_command

    app.command("calibrate", epilog=EPILOG)(calibrate_command(open_model))


def _add_serve(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.serve import EPILOG, serve_command

    app.command("serve", epilog=EPILOG)(serve_command(open_model))


# Each imports its command only when it is used, which keeps the start of the others fast.
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
    """Return the application with the command of this name, or with all if the name is unknown.

    Args:
        open_model: Opens the models of all commands.
        name: Name of a command.
    """
    app = typer.Typer(
        name="dreamr",
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog=_EPILOG)(_dreamr)
    for add in [_COMMANDS[name]] if name in _COMMANDS else _COMMANDS.values():
        add(app, open_model)
    return app


def main(argv: Sequence[str] | None = None, *, open_model: OpenModel = open_model) -> int:
    """Run a command line and return its exit status.

    Args:
        argv: Arguments without the program's name. None: those of the process.
        open_model: Opens the models of all commands.
    """
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal cannot encode become question marks, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        arguments = sys.argv[1:] if argv is None else list(argv)
        app = build_app(open_model, next((a for a in arguments if not a.startswith("-")), None))
        status = app(arguments, prog_name="dreamr", standalone_mode=False)
        sys.stdout.flush()
        # typer returns the status of an interrupt instead of raising.
        return _fail("interrupted", INTERRUPTED) if status == INTERRUPTED else status or 0
    except TyperException as error:
        if not error.format_message():  # without arguments, typer has printed the help
            return error.exit_code
        return _fail(usage_message(error), error.exit_code)
    except BadOption as error:
        return _fail(str(error), USAGE)
    except DreamrError as error:
        return _fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of the output has closed it. A flush at exit would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("DREAMR_DEBUG"):
            raise
        what = describe(error)
        return _fail(
            f"internal error ({what}): set DREAMR_DEBUG=1 for the traceback and report it", FAILED
        )


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
    """Make a large multimodal model reason faster: a draft proposes steps, a target judges them."""


def _fail(message: str, status: int) -> int:
    line = " ".join(message.split())
    print(f"dreamr: {line}", file=sys.stderr)
    return status
