"""Theme of the plots, and the color, marker and line of each method.

The colors are those of Okabe and Ito, which are distinguishable with any color vision. A family of
methods has the same color in every plot; its members differ in marker and line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dreamr.evaluation.report.methods import BASE, family, rank

_COLORS = {
    "draft": "#8c8c8c",
    "token-sd": "#56b4e9",
    "prompt-lookup": "#b59f00",  # darker than Okabe and Ito's yellow, which is too light for lines
    "specreason": "#e69f00",
    "lookahead": "#009e73",
    "parse": "#cc79a7",
    "sequential": "#0072b2",
    "fpsr": "#d55e00",
}
_OTHERS = "#7a5195"  # unknown families
_MARKERS = "osD^vP*X"
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@dataclass(frozen=True, slots=True)
class Theme:
    """Colors of a page; `dark` selects the dark ones."""

    dark: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """Parameters for matplotlib; sizes are in points."""
        paper, ink, soft, line = (
            ("#1c1f25", "#e7e9ec", "#9aa3af", "#31353d")
            if self.dark
            else ("#ffffff", "#1d2127", "#5d6672", "#e2e0db")
        )
        return {
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "figure.facecolor": paper,
            "savefig.facecolor": paper,
            "axes.facecolor": paper,
            "legend.facecolor": paper,
            "legend.frameon": False,
            "text.color": ink,
            "axes.labelcolor": soft,
            "axes.edgecolor": line,
            "xtick.color": soft,
            "ytick.color": soft,
            "grid.color": line,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }

    def color(self, method: str) -> str:
        """Return the color of a method's family."""
        if family(method) == BASE:
            return "#e7e9ec" if self.dark else "#1d2127"
        return _COLORS.get(family(method), _OTHERS)


@dataclass(frozen=True, slots=True)
class Look:
    """Color, marker and line of a method in all plots of a bench."""

    color: str
    marker: str
    line: Any


def looks(methods: Iterable[str], theme: Theme) -> dict[str, Look]:
    """Assign looks to methods; members of a family get markers and lines in order."""
    seen: dict[str, int] = {}
    found = {}
    for method in sorted(methods, key=rank):
        at = seen.setdefault(family(method), 0)
        seen[family(method)] += 1
        found[method] = Look(
            theme.color(method), _MARKERS[at % len(_MARKERS)], _LINES[at % len(_LINES)]
        )
    return found
