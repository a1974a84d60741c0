"""Values as mathematics writes them: enough LaTeX to compare a number with a number."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

from dreamr.evaluation.tasks.public.answers import folded

TOLERANCE = 1e-3  # relative; whole numbers have to be equal
_LONGEST = 200  # characters; more is no value

_REWRITES = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\\(?:left|right|displaystyle|[,;!: ])", ""),
        (r"\\(?:text|mathrm|mbox|textbf|mathbf|operatorname)\s*\{([^{}]*)\}", r" \1"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\circ|\\degree|°", ""),
        (r"\\(?:angle|triangle)|∠|△", ""),
        (r"\\%", "%"),
        (r"\\pi|π", "pi"),
        (r"\\times|\\cdot|[×·]", "*"),  # noqa: RUF001
        (r"\\div|÷", "/"),
        ("[−–]", "-"),  # noqa: RUF001
        (r"√\s*(\d+(?:\.\d+)?)", r"sqrt(\1)"),
        (r"√", "sqrt"),
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
        (r"(?<![\d.])0+(?=\d)", ""),
    )
)
_NESTED = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))"),
        (r"\\sqrt\s*\{([^{}]*)\}", r"sqrt(\1)"),
        (r"\^\s*\{([^{}]*)\}", r"**(\1)"),
    )
)
_UNIT = re.compile(
    r"(?<=[\d)i])\s*(?:(?:square|sq\.?|cubic)\s*)?"
    r"(?:units?|degrees?|deg|radians?|rad|[kcdm]?m|meters?|metres?|feet|foot|ft|inch(?:es)?|in|"
    r"miles?|hours?|h|minutes?|min|seconds?|s|dollars?|%)\.?\s*(?:\*\*\(?[23]\)?|[²³])?$"
)
# Nothing else goes to the parser, which warns about some of what it reads.
_FORMULA = re.compile(r"(?:[\d.+\-*/() ]|pi|sqrt|(?<=\d)[eE](?=[+-]?\d))+")
_PRODUCT = re.compile(r"(?<=[\d)])\s*(?!e[+-]?\d)(?=[a-z(])|(?<=pi)\s*(?=\()")

_OPERATORS: Mapping[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def same_value(given: str, wanted: str) -> bool:
    """Whether two texts give the same value.

    Numbers may be decimals, fractions, roots, powers and multiples of pi, in plain text or in
    LaTeX, with a name and "=" before them and a common unit behind. They agree to `TOLERANCE`,
    whole ones exactly. Anything else has to be the same text, blanks and case aside.
    """
    left, right = number(given), number(wanted)
    if left is not None and right is not None:
        if left.is_integer() and right.is_integer():
            return left == right
        return math.isclose(left, right, rel_tol=TOLERANCE)
    return _text(given) == _text(wanted) or _text(_side(given)) == _text(_side(wanted)) != ""


def number(text: str) -> float | None:
    """The number that a text gives, None where it gives none."""
    if len(text) > _LONGEST:
        return None
    formula = _PRODUCT.sub("*", _UNIT.sub("", _side(_plain(text)).strip(" .")))
    if not _FORMULA.fullmatch(formula):
        return None
    try:
        value = _evaluate(ast.parse(formula.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if math.isfinite(value) else None


def _evaluate(node: ast.expr) -> float:
    match node:
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return float(value)  # powers of floats cannot grow without bound
        case ast.Name("pi"):
            return math.pi
        case ast.UnaryOp(ast.USub(), operand):
            return -_evaluate(operand)
        case ast.UnaryOp(ast.UAdd(), operand):
            return _evaluate(operand)
        case ast.Call(ast.Name("sqrt"), [operand], []):
            return math.sqrt(_evaluate(operand))
        case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
            value = _OPERATORS[type(sign)](_evaluate(left), _evaluate(right))
            if isinstance(value, complex):
                raise ValueError("a power of a negative number")
            return value
    raise ValueError("no number")


def _plain(text: str) -> str:
    """LaTeX and typographic signs as a formula in Python's notation."""
    plain = text.replace("$", "").strip(" .")
    for pattern, into in _REWRITES:
        plain = pattern.sub(into, plain)
    before = ""
    while plain != before:  # innermost braces first
        before = plain
        for pattern, into in _NESTED:
            plain = pattern.sub(into, plain)
    return plain.replace("^", "**")


def _side(text: str) -> str:
    """What stands right of the last equals sign."""
    return text.rpartition("=")[2]


def _text(text: str) -> str:
    return re.sub(r"\s+", "", folded(_plain(text)))
