"""Numbers with their units, read from plain text and LaTeX."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from dreamr.evaluation.tasks.public.notation import half_width, plain

TOLERANCE = 1e-3  # relative; whole numbers must be equal
MAX_LENGTH = 200  # characters; longer texts are not values
_MAX_EXPONENT = 64  # of exact powers; others are computed as floats, which are bounded

_INEXACT = 2**53  # whole floats from here on are not exact

_Number = Fraction | float

# Factor of each unit, by what it measures.
_UNITS: Mapping[str, Mapping[str, float]] = {
    "length": {
        "km": 1000, "kilometer": 1000, "kilometre": 1000, "千米": 1000, "公里": 1000,
        "m": 1, "meter": 1, "metre": 1, "米": 1, "dm": 0.1, "分米": 0.1,
        "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01, "厘米": 0.01,
        "mm": 0.001, "millimeter": 0.001, "millimetre": 0.001, "毫米": 0.001,
        "feet": 0.3048, "foot": 0.3048, "ft": 0.3048, "inches": 0.0254, "inch": 0.0254,
        "in": 0.0254, "mile": 1609.344, "yard": 0.9144, "yd": 0.9144,
    },
    "time": {
        "hour": 3600, "hr": 3600, "h": 3600, "小时": 3600, "minute": 60, "min": 60, "分钟": 60,
        "second": 1, "sec": 1, "s": 1, "秒": 1,
    },
    "mass": {"kg": 1000, "kilogram": 1000, "千克": 1000, "公斤": 1000, "g": 1, "gram": 1, "克": 1},
    "angle": {"deg": 1, "degree": 1, "度": 1, "rad": 180 / math.pi, "radian": 180 / math.pi},
    "speed": {"km/h": 1 / 3.6, "kph": 1 / 3.6, "m/s": 1, "mph": 0.44704},
    "volume": {"liter": 1, "litre": 1, "升": 1, "ml": 0.001, "mL": 0.001, "毫升": 0.001},
    "force": {"newton": 1, "kN": 1000}, "energy": {"joule": 1, "kJ": 1000},
    "power": {"watt": 1, "kW": 1000}, "voltage": {"volt": 1}, "resistance": {"ohm": 1, "Ω": 1},
    "frequency": {"Hz": 1, "kHz": 1000}, "pressure": {"Pa": 1, "kPa": 1000},
    "temperature": {"degC": 1},
    "Fahrenheit": {"degF": 1},
    "money": {"dollar": 1, "buck": 1, "euro": 1, "元": 1},
    "percent": {"%": 1, "percent": 1},
    "": {"unit": 1, "time": 1, "个": 1},
}  # fmt: skip
_MEASURES = {
    name: (measure, factor) for measure, units in _UNITS.items() for name, factor in units.items()
}
_UNIT = re.compile(
    r"(?<=[\d)i])\s*(?P<power>square|sq\.?|cubic|cu\.?|平方|立方)?\s*"
    rf"(?P<name>{'|'.join(sorted(_MEASURES, key=len, reverse=True))})s?\.?"
    r"\s*(?:\*\*\(?(?P<exponent>[23])\)?)?\s*$"
)
_POWERS = {None: 1, "square": 2, "sq": 2, "平方": 2, "cubic": 3, "cu": 3, "立方": 3}
# Other texts are not parsed, because the parser warns about some of them.
_FORMULA = re.compile(r"(?:[\d.+\-*/() ]|pi|sqrt|(?<=\d)[eE](?=[+-]?\d))+")
_PRODUCT = re.compile(r"(?<=[\d)])\s*(?!e[+-]?\d)(?=[a-z(])|(?<=pi)\s*(?=\()", re.IGNORECASE)
_LIST = re.compile(r"[,;]|\b(?:or|and)\b|[或和]")
_DATE = re.compile(r"(?<![\d.])0\d+\s*/|/\s*0\d")  # fractions have no leading zeros

_OPERATORS: Mapping[type, Callable[[_Number, _Number], _Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit.

    Attributes:
        value: The number, exact if it is rational.
        unit: Unit as written; empty without one.
        power: Power of the unit: 2 for an area.
    """

    value: Fraction | float
    unit: str = ""
    power: int = 1

    def same(self, other: Quantity) -> bool:
        """Check for the same value, in the same kind of unit if both have one.

        A percentage is the same as its number and as its fraction: "50 %", "50" and "0.5".
        """
        ours, others = self._measure, other._measure
        if "percent" in (ours, others) and "" in (ours, others):
            percent, bare = (self, other) if ours == "percent" else (other, self)
            return _close(percent.value, bare.value) or _close(percent.value / 100, bare.value)
        if not (ours and others) or (self.unit, self.power) == (other.unit, other.power):
            return _close(self.value, other.value)
        if (ours, self.power) != (others, other.power):
            return False
        return math.isclose(self._converted, other._converted, rel_tol=TOLERANCE)

    @property
    def _measure(self) -> str:
        return _MEASURES[self.unit][0] if self.unit else ""

    @property
    def _converted(self) -> float:
        return float(self.value) * _MEASURES[self.unit][1] ** self.power


def quantity(text: str) -> Quantity | None:
    """Return the number that a text denotes as it stands, with its unit, or None.

    Arithmetic is not a number: dates, scores, ranges, dimensions and telephone numbers look the
    same. Decimals, fractions, mixed numbers, powers, scientific notation and what contains a root
    or pi are numbers.
    """
    if len(text) > MAX_LENGTH or _DATE.search(half_width(text)):
        return None
    found = _parsed(plain(text))
    return _evaluated(found) if found and _is_single(found.formula) else None


def quantity_in(formula: str) -> Quantity | None:
    """Return the value of a formula in Python's notation, with its unit, or None."""
    found = _parsed(formula)
    return found and _evaluated(found)


def after_equals(text: str) -> str:
    """Return the value of an equation, the text after its last equals sign.

    Lists and other relations are returned as they are.
    """
    name, _, value = text.rpartition("=")
    return text if _LIST.search(name) or name.endswith(("<", ">", "!")) else value


class _Parsed(NamedTuple):
    formula: ast.expr
    unit: str
    power: int


def _parsed(formula: str) -> _Parsed | None:
    formula = after_equals(formula).strip().rstrip(" .")
    unit, power = "", 1
    if found := _UNIT.search(formula):
        unit, formula = found["name"], formula[: found.start()]
        power = int(found["exponent"] or _POWERS[(found["power"] or "").rstrip(".") or None])
    formula = _PRODUCT.sub("*", formula.strip())
    if not _FORMULA.fullmatch(formula):
        return None
    try:
        return _Parsed(ast.parse(formula.strip(), mode="eval").body, unit, power)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _evaluated(parsed: _Parsed) -> Quantity | None:
    try:
        value = _evaluate(parsed.formula)
        finite = math.isfinite(value)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return Quantity(value, parsed.unit, parsed.power) if finite else None


def _is_single(node: ast.expr) -> bool:
    """Check whether a formula is the notation of one number and not arithmetic with several."""
    match node:
        case ast.UnaryOp(_, operand) | ast.Call(_, [operand]):
            return _is_single(operand)
        case ast.BinOp(
            ast.Constant(int()),
            ast.Add(),
            ast.BinOp(ast.Constant(int() as over), ast.Div(), ast.Constant(int() as under)),
        ) if over < under:
            return True  # a mixed number
        case ast.BinOp(left, sign, right):
            return _joins(left, sign, right) and _is_single(left) and _is_single(right)
    return True


def _joins(left: ast.expr, sign: ast.operator, right: ast.expr) -> bool:
    """Check whether an operator is part of the notation of one number."""
    nodes = [*ast.walk(left), *ast.walk(right)]
    match sign, right:
        case ast.Pow(), _:
            return True
        case ast.Div(), _:
            return not any(isinstance(node, ast.Div) for node in nodes)
        case ast.Mult(), ast.BinOp(ast.Constant(10), ast.Pow()):
            return True  # scientific notation
    return any(isinstance(node, ast.Name) for node in nodes)  # pi or a root


def _close(left: _Number, right: _Number) -> bool:
    if left == int(left) and right == int(right) and -_INEXACT < left < _INEXACT:
        return left == right
    if isinstance(left, Fraction) and isinstance(right, Fraction) and left == int(left):
        return left == right
    return math.isclose(left, right, rel_tol=TOLERANCE)


def _evaluate(node: ast.expr) -> _Number:
    match node:
        case ast.Constant(int() as value) if not isinstance(value, bool):
            return Fraction(value)
        case ast.Constant(float() as value):
            return value
        case ast.Name("pi"):
            return math.pi
        case ast.UnaryOp(ast.USub(), operand):
            return -_evaluate(operand)
        case ast.UnaryOp(ast.UAdd(), operand):
            return _evaluate(operand)
        case ast.Call(ast.Name("sqrt"), [operand], []):
            return math.sqrt(_evaluate(operand))
        case ast.BinOp(left, ast.Pow(), right):
            return _power(_evaluate(left), _evaluate(right))
        case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_evaluate(left), _evaluate(right))
    raise ValueError("not a number")


def _power(base: _Number, exponent: _Number) -> _Number:
    if isinstance(base, Fraction) and exponent == int(exponent):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if max(bits, abs(int(exponent))) <= _MAX_EXPONENT:
            return Fraction(base ** int(exponent))
    value: float | complex = float(base) ** float(exponent)
    if isinstance(value, complex):
        raise ValueError("a power of a negative number")
    return value
