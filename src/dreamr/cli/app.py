"""The application: its commands, and the handling of errors.

Every error is one line on standard error. `EXIT_STATUS` describes the exit status.
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
from dreamr.cli import interrupts, streams
from dreamr.cli.epilog import ENVIRONMENT, EXIT_STATUS, epilog
from dreamr.cli.usage import usage_message
from dreamr.engines import OpenModel, open_model
from dreamr.errors import DreamrError, Unwritable

FAILED, USAGE, INTERRUPTED = 1, 2, 130
_open_model = open_model
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


def _add_batch(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.batch import EPILOG, batch_command

    app.command("batch", epilog=EPILOG)(batch_command(open_model))


def _add_deploy(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.deploy import deploy_app

    app.add_typer(deploy_app(), name="deploy")


def _add_up(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.up import EPILOG, up_command

    app.command("up", epilog=EPILOG)(up_command(open_model))


def _add_ps(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.ps import EPILOG, ps_command

    app.command("ps", epilog=EPILOG)(ps_command())


def _add_logs(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.logs import EPILOG, logs_command

    app.command("logs", epilog=EPILOG)(logs_command())


def _add_down(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.down import EPILOG, down_command

    app.command("down", epilog=EPILOG)(down_command())


def _add_pair(app: typer.Typer, open_model: OpenModel) -> None:
    from dreamr.cli.pair import pair_app

    app.add_typer(pair_app(open_model), name="pair")


# Each imports its command only when it is used, which keeps the start of the others fast.
_COMMANDS: dict[str, Callable[[typer.Typer, OpenModel], None]] = {
    "run": _add_run,
    "serve": _add_serve,
    "up": _add_up,
    "ps": _add_ps,
    "logs": _add_logs,
    "down": _add_down,
    "batch": _add_batch,
    "bench": _add_bench,
    "calibrate": _add_calibrate,
    "deploy": _add_deploy,
    "doctor": _add_doctor,
    "pair": _add_pair,
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


def run_app(argv: Sequence[str] | None, open_model: OpenModel | None) -> int:
    """Run a command line and return its exit status; see `dreamr.cli.main`."""
    if argv is None:
        streams.prepare()
        interrupts.started()
        status = _status(sys.argv[1:], open_model or _open_model)
        return _closed(status)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return _status(list(argv), open_model or _open_model)


def _status(arguments: Sequence[str], open_model: OpenModel) -> int:
    """Run the command and report its error in one line."""
    try:
        app = build_app(open_model, next((a for a in arguments if not a.startswith("-")), None))
        status = app(arguments, prog_name="dreamr", standalone_mode=False)
        sys.stdout.flush()
        # typer returns the status of an interrupt instead of raising.
        is_interrupted = status == INTERRUPTED or interrupts.exit_status() is not None
        return _interrupted() if is_interrupted else status or 0
    except TyperException as error:
        if not error.format_message():  # without arguments, typer has printed the help
            return error.exit_code
        return _fail(usage_message(error), error.exit_code)
    except Unwritable as error:
        return _fail(str(error), interrupts.exit_status() or FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except streams.ReaderGone:
        return streams.READER_GONE
    except (Exception, SystemExit) as error:
        # What fails while a command is interrupted is a consequence.
        return _interrupted() if interrupts.exit_status() else _failed(error)


def _failed(error: Exception | SystemExit) -> int:
    match error:
        case BadOption():
            return _fail(str(error), USAGE)
        case streams.LostOutput():
            return _fail(str(error), streams.LOST)
        case DreamrError():
            return _fail(str(error), FAILED)
        case SystemExit():
            return _fail(
                f"code outside of dreamr called sys.exit({error.code}), such as a plugin: let it "
                "raise an error instead",
                FAILED,
            )
    if os.environ.get("DREAMR_DEBUG"):
        raise error
    return _fail(
        f"internal error ({describe(error)}): set DREAMR_DEBUG=1 for the traceback and report it",
        FAILED,
    )


def _interrupted() -> int:
    return _fail("interrupted", interrupts.exit_status() or INTERRUPTED)


def _closed(status: int) -> int:
    """Flush standard output, whose last failure would otherwise be reported by the interpreter."""
    try:
        sys.stdout.flush()
    except streams.ReaderGone:
        return status or streams.READER_GONE
    except streams.LostOutput as error:
        return status or _fail(str(error), streams.LOST)
    return status


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
