r"""One notation for answers: LaTeX, full-width and typographic signs as plain text.

`plain` writes a mathematical text in Python's notation as far as it has one. Ambiguous forms are
read as schools teach them: `3\frac{1}{2}`, `3 1/2` and `3½` are mixed numbers, not products, if the
fraction is proper.
"""

from __future__ import annotations

import re
import unicodedata

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord("\N{IDEOGRAPHIC SPACE}"): " ",
    ord("。"): ".",
    ord("、"): ",",
    ord("【"): "[",
    ord("】"): "]",
    ord("\N{NO-BREAK SPACE}"): " ",
    ord("\N{NARROW NO-BREAK SPACE}"): " ",
    ord("\N{THIN SPACE}"): " ",
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_DEPTH = 5  # most commands inside one another that are removed
_WRAPPERS = "text|textrm|textbf|textit|mathrm|mathbf|mathit|mathsf|mbox|operatorname|bm|boldsymbol"
_WRAPPED = re.compile(rf"\\(?:{_WRAPPERS})\s*\{{([^{{}}]*)\}}")
_SIGN = r"(\\pi|[\dA-Za-z])"  # an argument without braces

_REWRITES = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\\(?:left|right|displaystyle|limits|[bB]igg?[lr]?)(?![a-zA-Z])|\\[,;!:]", ""),
        (r"\\q?quad(?![a-zA-Z])|\\ |~", " "),
        (r"\{,\}", ","),
        (r"\\[()\[\]$]|[$€£¥₩₹]|(?i:US(?=\s*\$)|\b(?:USD|EUR|GBP|RMB)\b)", ""),
        (r"\^\s*\{?\s*(?:\\circ|\\degree|°)\s*\}?|\\circ(?![a-z])|\\degree|[°º˚]", " deg "),
        (r" deg\s+([CFK])(?![a-zA-Z])", r" deg\1"),
        (r"\\(?:angle|triangle)(?![a-z])|[∠△]", ""),
        (r"\\%|٪", "%"),
        (r"\\pi(?![a-z])|π", r"\\pi "),
        (r"\\(?:times|cdot|ast)(?![a-z])|[×·⋅∙]", "*"),  # noqa: RUF001
        (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", "*"),
        (r"\\div(?![a-z])|[÷∕⁄]", "/"),  # noqa: RUF001
        ("∶", ":"),  # noqa: RUF001
        (r"\\Omega(?![a-z])|\N{OHM SIGN}", "Ω"),
        (r"\\(?:emptyset|varnothing)(?![a-z])", "∅"),
        (r"(?i:\b(?:approximately|approx\.?|about|roughly))\s+(?=[\d.$\\])|[约約](?=\s*\d)", "≈"),
        (r"(?<=\d)['’](?=\d{3}(?!\d))", ""),  # noqa: RUF001
        ("[−–‒﹣]", "-"),  # noqa: RUF001
        (r"\\(?:leq?slant|leq?)(?![a-z])|≤|≦|⩽|=<", "<="),
        (r"\\(?:geq?slant|geq?)(?![a-z])|≥|≧|⩾|=>", ">="),
        (r"\\(?:neq?)(?![a-z])|≠", "!="),
        (r"\\lt(?![a-z])", "<"),
        (r"\\gt(?![a-z])", ">"),
        (r"\\(?:approx|simeq)(?![a-z])|[≈≃]", "≈"),
        (r"\\pm(?![a-z])", "±"),
        (r"\\infty(?![a-z])", "∞"),
        (r"\\(?:overline|widehat|vec|overrightarrow)\s*\{([A-Za-z]+)\}", r"\1"),
        (r"\\in(?![a-z])", "∈"),
        (r"\\(?:cup|lor)(?![a-z])", "∪"),  # noqa: RUF001
        (r"\\(?:cap|land)(?![a-z])", "∩"),
        (r"\\[dtc]frac", r"\\frac"),
        (rf"\\frac\s*{_SIGN}\s*{_SIGN}", r"\\frac{\1}{\2}"),
        (rf"\\frac\s*{_SIGN}\s*(?=\{{)", r"\\frac{\1}"),
        (rf"\\frac\s*(\{{[^{{}}]*\}})\s*{_SIGN}", r"\\frac\1{\2}"),
        (r"\\sqrt\s*(\\frac\{[^{}]*\}\{[^{}]*\})", r"\\sqrt{\1}"),
        (r"\\sqrt\s*\[\s*(\d+)\s*\]\s*(\d+)", r"\\sqrt[\1]{\2}"),
        (r"(?<![\\a-z])sqrt\s*(\d+)", r"\\sqrt{\1}"),
        (r"√\s*(\d+(?:\.\d+)?|[a-z])", r"\\sqrt{\1}"),
        (r"√\s*(?=\{)", r"\\sqrt"),
        (r"√\s*(?=\()", "sqrt"),
        (r"\\sqrt\s*(\d+|[a-z])(?!\w)", r"\\sqrt{\1}"),
        (r"\\sqrt\s*(\d)(?=[a-z])", r"\\sqrt{\1}"),
        (r"∛\s*(\d+)", r"\\sqrt[3]{\1}"),
    )
)
_NESTED = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))"),
        (r"\\sqrt\s*\[\s*(\d+)\s*\]\s*\{([^{}]*)\}", r"((\2)**(1/\1))"),
        (r"\\sqrt\s*\{([^{}]*)\}", r"sqrt(\1)"),
        (r"\^\s*\{([^{}]*)\}", r"**(\1)"),
        (r"(?<![\\}_a-zA-Z])\{([^{},;]*)\}", r"(\1)"),
    )
)
_MIXED = re.compile(r"(?<![\d.^_{])(\d+)\s*\\frac\{(\d+)\}\{(\d+)\}")
_MIXED_PLAIN = re.compile(r"(?<![\d./^*])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])")
_LEADING_ZEROS = re.compile(r"(?<![\d.:])0+(?=\d)")
# Not in brackets, where the comma separates coordinates.
_THOUSANDS = re.compile(
    r"(?<![\d.,(\[])(?<!\\\{)([1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?: \d{3})+)(?![\d,/])"
)
_VULGAR = re.compile(r"(\d*)\s*([¼-¾⅐-⅞↉])")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")


def half_width(text: str) -> str:
    """Return a text with full-width letters, digits and punctuation as ASCII."""
    return text.translate(_FULL_WIDTH)


def unwrapped(text: str) -> str:
    r"""Return a text without the commands of LaTeX that set words, such as `\text{}`."""
    for _ in range(_DEPTH):
        text = _WRAPPED.sub(r" \1", text)
    return text


def latex(text: str) -> str:
    """Return a mathematical text in one notation, with roots, fractions and powers in LaTeX."""
    text = unwrapped(half_width(text).replace("\\$", "$")).strip().rstrip(" .,;")
    text = _VULGAR.sub(_vulgar, text)
    text = _SUPERSCRIPT.sub(lambda found: f"^{{{found[0].translate(_SUPERSCRIPTS)}}}", text)
    for pattern, into in _REWRITES:
        text = pattern.sub(into, text)
    text = _THOUSANDS.sub(lambda found: re.sub("[, ]", "", found[0]), text)
    text = _LEADING_ZEROS.sub("", text)
    text = _MIXED.sub(_mixed, text)
    return _MIXED_PLAIN.sub(_mixed, text)


def plain(text: str) -> str:
    """Return a mathematical text in Python's notation."""
    text = latex(text).replace("\\pi ", "pi").replace("\\pi", "pi")
    before = ""
    while text != before:  # from the innermost braces outward
        before = text
        for pattern, into in _NESTED:
            text = pattern.sub(into, text)
    return text.replace("^", "**")


def _vulgar(found: re.Match[str]) -> str:
    """Write a sign such as ½ as a fraction, or as a mixed number after digits."""
    over, under = unicodedata.normalize("NFKC", found[2]).split("\N{FRACTION SLASH}")
    return f"({found[1]}+{over}/{under})" if found[1] else f"({over}/{under})"


def _mixed(found: re.Match[str]) -> str:
    whole, over, under = map(int, found.groups())
    return f"({whole}+{over}/{under})" if 0 < over < under else found[0]
