"""Write the example receipt to a file: `python -m dreamr_testbed [FILE]`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from dreamr_testbed import RECEIPT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dreamr_testbed",
        description="Write the example of the quick start, a receipt: a PNG file, or a PDF file "
        "with the receipt as its page if the name ends in .pdf.",
    )
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        default=Path("receipt.png"),
        help="File to write; must not exist. Default: receipt.png.",
    )
    file: Path = parser.parse_args(arguments).file
    try:
        with file.open("xb") as out:
            out.write(_page() if file.suffix.lower() == ".pdf" else RECEIPT.read_bytes())
    except FileExistsError:
        return _fail(f"{file} already exists: name another file")
    except OSError as error:
        return _fail(f"cannot write {file}: {error.strerror}; name another file")
    print(file)
    return 0


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
