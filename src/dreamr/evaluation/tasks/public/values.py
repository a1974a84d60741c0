"""Mathematical values: enough LaTeX to compare numbers."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

from dreamr.evaluation.tasks.public.answers import folded

TOLERANCE = 1e-3  # relative; whole numbers must be equal
_MAX_LENGTH = 200  # characters; longer texts are not values

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
# Other texts are not parsed, because the parser warns about some of them.
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
    """Check whether two texts have the same value.

    Numbers may be decimals, fractions, roots, powers and multiples of pi, in plain text or in
    LaTeX, optionally after a name and "=" and before a common unit. They must agree to a relative
    `TOLERANCE`, whole numbers exactly. Other texts must be equal except for whitespace and case.
    """
    left, right = number(given), number(wanted)
    if left is not None and right is not None:
        if left.is_integer() and right.is_integer():
            return left == right
        return math.isclose(left, right, rel_tol=TOLERANCE)
    return _text(given) == _text(wanted) or _text(_side(given)) == _text(_side(wanted)) != ""


def number(text: str) -> float | None:
    """Return the number that a text denotes, or None."""
    if len(text) > _MAX_LENGTH:
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
            return float(value)  # unlike powers of int, powers of float are bounded
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
    raise ValueError("not a number")


def _plain(text: str) -> str:
    """Convert LaTeX and typographic signs to a formula in Python notation."""
    plain = text.replace("$", "").strip(" .")
    for pattern, into in _REWRITES:
        plain = pattern.sub(into, plain)
    before = ""
    while plain != before:  # from the innermost braces outward
        before = plain
        for pattern, into in _NESTED:
            plain = pattern.sub(into, plain)
    return plain.replace("^", "**")


def _side(text: str) -> str:
    """Return the text after the last equals sign."""
    return text.rpartition("=")[2]


def _text(text: str) -> str:
    return re.sub(r"\s+", "", folded(_plain(text)))
