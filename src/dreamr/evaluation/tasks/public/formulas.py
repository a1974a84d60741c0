"""Comparison of formulas by math-verify, in a process of its own.

Simplifying a formula can take any time and memory, and math-verify's own timeouts work in the main
thread only. A process can be ended. It starts with the first formula and serves all that follow.

Run as a program, this module is that process: it reads a pair of formulas per line, as JSON, and
answers each with a line.
"""

from __future__ import annotations

import atexit
import json
import re
import select
import subprocess
import sys
import threading
from importlib.util import find_spec
from itertools import accumulate

_SECONDS = 5.0  # for one pair of formulas
_STARTING_SECONDS = 60.0  # for the import of sympy
_MEMORY = 4 * 2**30  # bytes of address space
_MAX_LENGTH = 120  # characters
_MAX_DEPTH = 8  # brackets inside one another
_NAMES = (
    "frac|sqrt|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|lg|exp|pi|infty|theta|alpha|beta"
)
_ENVIRONMENTS = "begin|end|pmatrix|bmatrix|vmatrix|matrix|cases"
# Formulas have letters only as names of one or two, so that words are not taken for products.
_FORMULA = re.compile(
    rf"(?:\\(?:{_NAMES}|begin|end)(?![a-zA-Z])|\\[\\{{}}]|\{{(?:{_ENVIRONMENTS})\}}"
    r"|(?<![a-zA-Z])[a-zA-Z]{1,2}(?![a-zA-Z])|(?<=\d)[a-zA-Z]{1,2}(?![a-zA-Z])"
    r"|[\d\s+\-*/^=<>!()\[\]{},.;|&_∞∪∩±])+"  # noqa: RUF001
)
_DEGREES = re.compile(r"(\\(?:sin|cos|tan|cot|sec|csc))\s*(\d+(?:\.\d+)?)\s*deg(?![a-zA-Z])\s?")
_LATEX = {
    "<=": r"\leq ", ">=": r"\geq ", "!=": r"\neq ", "∞": r"\infty ", "∪": r"\cup ",  # noqa: RUF001
    "∩": r"\cap ", "±": r"\pm ", "*": r"\cdot ",
}  # fmt: skip


def equal(given: str, wanted: str) -> bool:
    """Check whether two formulas in LaTeX are equal.

    False if one is not a formula, the comparison takes too long, or math-verify is not installed.
    """
    given, wanted = (_DEGREES.sub(r"\1(\\frac{\2\\pi}{180})", text) for text in (given, wanted))
    if not all(_is_formula(text) for text in (given, wanted)):
        return False
    if _variables(given) != _variables(wanted) or not _installed():
        return False
    return _COMPARISONS.equal(_as_latex(given), _as_latex(wanted))


def _is_formula(text: str) -> bool:
    """Check for a formula. Letters alone are a word or the name of a line."""
    if len(text) > _MAX_LENGTH or text.isalpha() or not _FORMULA.fullmatch(text):
        return False
    depths = list(accumulate((sign in "([{") - (sign in ")]}") for sign in text))
    return not depths or (min(depths) >= 0 and max(depths) <= _MAX_DEPTH)


def _variables(text: str) -> set[str]:
    return set(re.sub(r"\\[a-zA-Z]+|[^a-zA-Z]", "", text))


def _installed() -> bool:
    return find_spec("math_verify") is not None


def _as_latex(text: str) -> str:
    for sign, command in _LATEX.items():
        text = text.replace(sign, command)
    return text


class _Comparisons:
    """The process that compares formulas, restarted after it was ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def equal(self, given: str, wanted: str) -> bool:
        with self._lock:
            try:
                if self._process is None:
                    self._start()
                self._write([given, wanted])
                return self._read(_SECONDS) == b"true\n"
            except (OSError, TimeoutError):
                self.close()
                return False

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._read(_STARTING_SECONDS)

    def _write(self, pair: list[str]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(pair).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self, seconds: float) -> bytes:
        """Return the next line of the process; short enough to arrive in one piece.

        Raises:
            TimeoutError: If it takes longer.
            OSError: If the process has ended.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError
        if not (line := self._process.stdout.readline()):
            raise OSError("the process has ended")
        return line

    def close(self) -> None:
        """End the process, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


_COMPARISONS = _Comparisons()


def _serve() -> None:
    """Compare the pairs of formulas on standard input until it ends."""
    import logging
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.disable(logging.CRITICAL)
    from math_verify import LatexExtractionConfig, parse, verify

    def read(text: str) -> list[object]:
        found: list[object] = parse(f"${text}$", [LatexExtractionConfig()], parsing_timeout=None)
        return found

    print("ready", flush=True)
    for line in sys.stdin:
        try:
            given, wanted = (read(text) for text in json.loads(line))
            same = bool(given and wanted) and verify(wanted, given, timeout_seconds=None)
        except Exception:  # what cannot be parsed is not equal
            same = False
        print(json.dumps(bool(same)), flush=True)


if __name__ == "__main__":
    _serve()
