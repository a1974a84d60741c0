"""Suite vqa: multi-step questions about shapes on a board of 3 x 3 cells.

Three kinds: count the shapes with a property, compare two counts, and find the neighbor of a
shape. The reference reasoning goes through the board row by row and keeps running totals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS, PATCH, Canvas
from dreamr_testbed.suites.problem import OneImage, ReferenceStep

SHAPES = ("circle", "square", "triangle", "star", "cross")
SIZES = ("small", "big")
ROWS = ("Top", "Middle", "Bottom")
SIDES = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
PLACES = ("first", "second", "third")

Cell = tuple[str, str, str]  # size, color, shape
Board = tuple[tuple[Cell | None, ...], ...]


def plain_name(cell: Cell | None) -> str:
    """Return color and shape of a cell, or 'empty'."""
    return f"{cell[1]} {cell[2]}" if cell else "empty"


def full_name(cell: Cell | None) -> str:
    """Return size, color and shape of a cell, or 'empty'."""
    return " ".join(cell) if cell else "empty"


def matches(cell: Cell | None, word: str) -> bool:
    """Check whether a cell has a shape with this size, color or shape."""
    return cell is not None and word in cell


def thing(word: str) -> str:
    """Return the singular of a property: 'star' for a shape, 'red shape' for others."""
    return word if word in SHAPES else f"{word} shape"


def things(word: str) -> str:
    """Return the plural of a property: 'stars' for a shape, 'red shapes' for others."""
    if word in SHAPES:
        return f"{word}es" if word == "cross" else f"{word}s"
    return f"{word} shapes"


@dataclass(frozen=True, slots=True)
class _Scene(OneImage):
    """Board of shapes; base class of the three kinds."""

    board: Board

    @property
    def transcript(self) -> str:
        """All cells as text, row by row."""
        rows = (", ".join(full_name(cell) for cell in row) for row in self.board)
        return "\n".join(f"{name} row: {row}." for name, row in zip(ROWS, rows, strict=True))

    def paint(self, canvas: Canvas) -> None:
        """Draw all shapes."""
        for r, row in enumerate(self.board):
            for c, cell in enumerate(row):
                if cell is not None:
                    paint_cell(canvas, r, c, cell)

    def misread(self, rng: Random) -> Self:
        """Return the same question with one cell changed, added or removed."""
        r, c = rng.randrange(3), rng.randrange(3)
        old = self.board[r][c]
        new: Cell | None = (
            _random_cell(rng) if old is None or rng.random() < 0.5 else _nearly(old, rng)
        )
        if old is not None and rng.random() < 0.15:
            new = None
        row = (*self.board[r][:c], new, *self.board[r][c + 1 :])
        return replace(self, board=(*self.board[:r], row, *self.board[r + 1 :]))

    def _row(self, r: int, describe: Callable[[Cell | None], str]) -> str:
        return ", ".join(describe(cell) for cell in self.board[r])


@dataclass(frozen=True, slots=True)
class Count(_Scene):
    """Question about the number of shapes with a size, color or shape (`word`)."""

    word: str

    @property
    def question(self) -> str:
        """Question about the number of shapes."""
        return f"How many {things(self.word)} are there?"

    @property
    def answer(self) -> str:
        """Number of shapes."""
        return str(sum(matches(cell, self.word) for row in self.board for cell in row))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: a running total, row by row."""
        describe = full_name if self.word in SIZES else plain_name
        steps, total = [], 0
        for r, name in enumerate(ROWS):
            here = sum(matches(cell, self.word) for cell in self.board[r])
            row, add = self._row(r, describe), f"{total} + {here} = {total + here}"
            steps.append(
                ReferenceStep(
                    f"{name} row: {row}. {things(self.word).capitalize()}: {add}.",
                    f"Now I look at the {name.lower()} row, and there I see: {row}. "
                    f"So the number of {things(self.word)} is {add}.",
                )
            )
            total += here
        end = ReferenceStep(
            f"In all: {total}.", f"So in all three rows together there are {total} of them."
        )
        return (*steps, end)


@dataclass(frozen=True, slots=True)
class Compare(_Scene):
    """Question about the difference between the numbers of two colors or shapes."""

    first: str
    second: str

    @property
    def question(self) -> str:
        """Question about the difference."""
        return f"How many more {things(self.first)} than {things(self.second)} are there?"

    def _tally(self, word: str) -> list[int]:
        return [sum(matches(cell, word) for cell in row) for row in self.board]

    @property
    def answer(self) -> str:
        """Difference of the two numbers."""
        return str(sum(self._tally(self.first)) - sum(self._tally(self.second)))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: two running totals, row by row, then the difference."""
        steps = []
        a = b = 0
        for r, name in enumerate(ROWS):
            da, db = self._tally(self.first)[r], self._tally(self.second)[r]
            one = f"{a} + {da} = {a + da}"
            two = f"{b} + {db} = {b + db}"
            row = self._row(r, plain_name)
            steps.append(
                ReferenceStep(
                    f"{name} row: {row}. {things(self.first).capitalize()}: {one}, "
                    f"{things(self.second)}: {two}.",
                    f"Now I look at the {name.lower()} row, and there I see: {row}. "
                    f"So the number of {things(self.first)} is {one} "
                    f"and the number of {things(self.second)} is {two}.",
                )
            )
            a, b = a + da, b + db
        minus = f"{a} - {b} = {a - b}"
        end = ReferenceStep(f"Difference: {minus}.", f"So the difference of the two is {minus}.")
        return (*steps, end)


@dataclass(frozen=True, slots=True)
class Beside(_Scene):
    """Question about the neighbor of the only shape with a property.

    Attributes:
        anchor: Color or shape that occurs once on the board.
        side: Direction of the neighbor, a key of `SIDES`.
        asked: Property of the neighbor in the question: `colour` or `shape`.
    """

    anchor: str
    side: str
    asked: str

    @property
    def question(self) -> str:
        """Question about the neighbor's color or shape."""
        what = "colour is the shape" if self.asked == "colour" else "shape is"
        return f"What {what} {self.side} the {thing(self.anchor)}?"

    def _where(self) -> tuple[int, int]:
        for r in range(3):
            for c in range(3):
                if matches(self.board[r][c], self.anchor):
                    return r, c
        return -1, -1

    def _asked(self) -> tuple[int, int]:
        """Return row and column of the neighbor; (-1, -1) if it is off the board."""
        r, c = self._where()
        if r < 0:
            return r, c
        down, right = SIDES[self.side]
        r, c = r + down, c + right
        return (r, c) if 0 <= r < 3 and 0 <= c < 3 else (-1, -1)

    def _neighbor(self) -> Cell | None:
        r, c = self._asked()
        return self.board[r][c] if r >= 0 else None

    @property
    def answer(self) -> str:
        """Color or shape of the neighbor; 'none' if there is none."""
        cell = self._neighbor()
        return "none" if cell is None else cell[1] if self.asked == "colour" else cell[2]

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: find the anchor row by row, then its neighbor."""
        at, marked = self._where()
        steps = []
        for r, name in enumerate(ROWS):
            shapes = [plain_name(cell) for cell in self.board[r]]
            if r == at:
                shapes[marked] += f" is {PLACES[marked]}"
            row = ", ".join(shapes)
            steps.append(
                ReferenceStep(
                    f"{name} row: {row}.",
                    f"Now I look at the {name.lower()} row, and there I see: {row}. "
                    f"Is the {thing(self.anchor)} in this row: {'yes' if r == at else 'no'}.",
                )
            )
        r, c = self._asked()
        if r < 0:
            return tuple(steps)
        row, place, beside = ROWS[r], PLACES[c], plain_name(self.board[r][c])
        return (
            *steps,
            ReferenceStep(
                f"The shape {self.side} it: {row.lower()} row, {place}.",
                f"So the shape {self.side} the {thing(self.anchor)} is in the "
                f"{row.lower()} row, and there it is {place}.",
            ),
            ReferenceStep(
                f"{row} row, {place}: {beside}.",
                f"Now I look at the {row.lower()} row, and there the {place} is this: {beside}.",
            ),
        )


def paint_cell(canvas: Canvas, r: int, c: int, cell: Cell) -> None:
    """Draw a shape in the cell of row `r` and column `c`, and label its patches."""
    size, color, shape = cell
    radius = canvas.rng.uniform(8, 10) if size == "small" else canvas.rng.uniform(15, 18)
    slack = 21 - radius
    x = (2 * c + 1) * PATCH + canvas.rng.uniform(-slack, slack) * 0.6
    y = (2 * r + 1) * PATCH + canvas.rng.uniform(-slack, slack) * 0.6
    canvas.shape(x, y, radius, shape, color)
    canvas.label(2 * c, 2 * r, 2, 2, (f"{size} {color}", shape))


def _random_cell(rng: Random) -> Cell:
    return rng.choice(SIZES), rng.choice(tuple(COLORS)), rng.choice(SHAPES)


def _nearly(cell: Cell, rng: Random) -> Cell:
    other = _random_cell(rng)
    keep = rng.randrange(1, 3)
    return (cell[0], cell[1] if keep == 1 else other[1], cell[2] if keep == 2 else other[2])


def random_board(rng: Random, count: int, favor: tuple[str, ...]) -> Board:
    """Draw a random board of `count` shapes on which the words in `favor` are frequent."""
    cells: list[Cell | None] = [None] * 9
    for at in rng.sample(range(9), count):
        size, color, shape = _random_cell(rng)
        if rng.random() < 0.45:
            word = rng.choice(favor) if favor else ""
            size = word if word in SIZES else size
            color = word if word in COLORS else color
            shape = word if word in SHAPES else shape
        cells[at] = (size, color, shape)
    return tuple(tuple(cells[3 * r : 3 * r + 3]) for r in range(3))


def _count(rng: Random, shapes: int) -> Count:
    word = rng.choice((*COLORS, *SHAPES, *SIZES))
    wanted = rng.randint(0, min(5, shapes))
    while True:
        scene = Count(random_board(rng, shapes, (word,)), word)
        if int(scene.answer) == wanted:
            return scene


def _compare(rng: Random, shapes: int) -> Compare:
    pool = rng.choice((tuple(COLORS), SHAPES))
    first, second = rng.sample(pool, 2)
    wanted = rng.randint(0, min(3, shapes - 1))
    while True:
        scene = Compare(random_board(rng, shapes, (first, first, second)), first, second)
        if int(scene.answer) == wanted:
            return scene


def draw_beside(rng: Random, shapes: int) -> Beside:
    """Draw a board of `shapes` shapes and a question about a neighbor."""
    while True:
        board = random_board(rng, shapes, ())
        side = rng.choice(tuple(SIDES))
        words = [word for row in board for cell in row if cell for word in cell[1:]]
        single = [word for word in words if words.count(word) == 1]
        for anchor in rng.sample(single, len(single)):
            scene = Beside(board, anchor, side, rng.choice(("colour", "shape")))
            if scene.answer != "none":
                return scene


def generate(rng: Random, level: int) -> Count | Compare | Beside:
    """Draw a random scene; higher levels (1 to 3) have more shapes and harder questions."""
    shapes = rng.randint(*{1: (2, 4), 2: (4, 6), 3: (5, 8)}[level])
    kinds = (_count, draw_beside) if level == 1 else (_count, _compare, draw_beside)
    return rng.choice(kinds)(rng, max(shapes, 3))
