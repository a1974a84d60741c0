"""Write the example receipt or a drawn problem to a file: `python -m dreamr_testbed [FILE]`."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from dreamr.errors import DreamrError
from dreamr_testbed import RECEIPT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    file: Path = options.file
    if options.suite is None and (options.index, options.level) != (0, None):
        return _fail("--index and --level choose a problem of a suite: add --suite")
    try:
        if options.suite is not None:
            return _write_problem(options)
        _write([(file, _page() if file.suffix.lower() == ".pdf" else RECEIPT.read_bytes())])
    except FileExistsError as error:
        return _fail(f"{error.filename} already exists: name another file")
    except OSError as error:
        place = error.filename or file  # a full disk is reported without a name
        return _fail(f"cannot write {place}: {error.strerror}; name another file")
    except DreamrError as error:
        return _fail(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dreamr_testbed",
        description="Write the example of the quick start, a receipt: a PNG file, or a PDF file "
        "with the receipt as its page if the name ends in .pdf. With --suite, write a drawn "
        "problem instead, and print its question and answer.",
    )
    add = parser.add_argument
    add(
        "file",
        type=Path,
        nargs="?",
        default=Path("receipt.png"),
        help="File to write; must not exist. Default: receipt.png.",
    )
    add("--suite", help="Suite of the problem: a .pdf file for pages, .mp4 for clip, else .png.")
    add("--index", type=int, default=0, help="Number of the problem. Default: %(default)s.")
    add("--level", type=int, choices=(1, 2, 3), help="Level of the problem. Default: any.")
    return parser


def _write_problem(options: argparse.Namespace) -> int:
    # Imported here, since the receipt needs none of it.
    from dreamr_testbed.suites import EXTRA_SUITES, SUITES, make_problem
    from dreamr_testbed.suites.problem_files import files_of

    known = (*SUITES, *EXTRA_SUITES)
    if options.suite not in known:
        return _fail(f"no suite {options.suite!r}; known: {', '.join(known)}")
    if options.index < 0:
        return _fail(f"--index must be at least 0, not {options.index}")
    problem = make_problem(options.suite, "test", options.index, options.level)
    _write(list(files_of(problem, options.file)))
    print(problem.question)
    print(problem.final)
    return 0


def _write(files: Sequence[tuple[Path, bytes]]) -> None:
    for path, _ in files:  # all or none
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    for path, data in files:
        with path.open("xb") as out:
            out.write(data)
        print(path)


def _page() -> bytes:
    """Return a PDF file whose page is the receipt, two inches wide."""
    out = io.BytesIO()
    with PIL.Image.open(RECEIPT) as receipt:
        # JPEG, as scanners write it; with less quality, small print would blur.
        receipt.save(out, "PDF", resolution=receipt.width / 2, quality=95)
    return out.getvalue()


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
