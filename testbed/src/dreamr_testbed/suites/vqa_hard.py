"""Hard level of vqa: shapes on several boards, and walks over one board.

Counts go through two to four boards of 3 x 3 cells, each an image of its own. A walk goes from
cell to cell over one board and asks for the shape at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Self

from dreamr_testbed.suites.canvas import COLORS, Canvas
from dreamr_testbed.suites.parts import plus
from dreamr_testbed.suites.problem import (
    OneImage,
    Paint,
    ReferenceStep,
    SeveralImages,
    look_for,
)
from dreamr_testbed.suites.vqa import (
    PLACES,
    ROWS,
    SHAPES,
    SIZES,
    Board,
    Cell,
    Count,
    full_name,
    matches,
    plain_name,
    random_board,
    thing,
    things,
)

BACK = {"left": "right", "right": "left", "above": "below", "below": "above"}
MOVES = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}


def changed(board: Board, rng: Random) -> Board:
    """Return a board with one cell changed, added or removed."""
    return Count(board, SHAPES[0]).misread(rng).board


@dataclass(frozen=True, slots=True)
class _Boards(SeveralImages):
    """Several boards of shapes; base class of the counting kinds."""

    boards: tuple[Board, ...]

    @property
    def transcript(self) -> str:
        """All cells as text, row by row."""
        return "\n".join(Count(board, "").transcript for board in self.boards)

    @property
    def views(self) -> tuple[Paint, ...]:
        """One image per board."""
        return tuple(Count(board, "").paint for board in self.boards)

    def misread(self, rng: Random) -> Self:
        """Return the same question with one cell changed, added or removed."""
        boards = list(self.boards)
        at = rng.randrange(len(boards))
        boards[at] = changed(boards[at], rng)
        return replace(self, boards=tuple(boards))

    def _rows(
        self, describe: Callable[[Cell | None], str]
    ) -> list[tuple[str, str, str, tuple[Cell | None, ...]]]:
        """Return how each row is introduced, tersely and with more words, its text and cells."""
        return [
            (
                f"Image {number}, {name.lower()} row",
                f"Now I look at the {name.lower()} row of image {number}, and there I see",
                ", ".join(map(describe, row)),
                row,
            )
            for number, board in enumerate(self.boards, 1)
            for name, row in zip(ROWS, board, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class LongCount(_Boards):
    """Question about the number of shapes with a size, color or shape (`word`) on all boards."""

    word: str

    @property
    def question(self) -> str:
        """Question about the number of shapes."""
        return f"How many {things(self.word)} are there in all images together?"

    @property
    def answer(self) -> str:
        """Number of shapes."""
        return str(_tally(self.boards, self.word))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: a running total, row by row."""
        many, total, steps = things(self.word), 0, []
        describe = full_name if self.word in SIZES else plain_name
        for terse, wordy, row, cells in self._rows(describe):
            here = sum(matches(cell, self.word) for cell in cells)
            add = plus(total, here)
            steps.append(
                ReferenceStep(
                    f"{terse}: {row}. {many.capitalize()}: {add}.",
                    f"{wordy}: {row}. So the number of {many} is {add}.",
                )
            )
            total += here
        end = f"So in all images together there are {total} of them."
        return (look_for(many), *steps, ReferenceStep(f"In all: {total}.", end))


@dataclass(frozen=True, slots=True)
class LongCompare(_Boards):
    """Question about the difference between the numbers of two colors or shapes."""

    first: str
    second: str

    @property
    def question(self) -> str:
        """Question about the difference."""
        more = f"How many more {things(self.first)} than {things(self.second)}"
        return f"{more} are there in all images together?"

    @property
    def answer(self) -> str:
        """Difference of the two numbers."""
        return str(_tally(self.boards, self.first) - _tally(self.boards, self.second))

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: two running totals, row by row, then the difference."""
        a, b, steps = 0, 0, []
        ones, others = things(self.first), things(self.second)
        for terse, wordy, row, cells in self._rows(plain_name):
            da = sum(matches(cell, self.first) for cell in cells)
            db = sum(matches(cell, self.second) for cell in cells)
            one, two = plus(a, da), plus(b, db)
            steps.append(
                ReferenceStep(
                    f"{terse}: {row}. {ones.capitalize()}: {one}, {others}: {two}.",
                    f"{wordy}: {row}. So the number of {ones} is {one} "
                    f"and the number of {others} is {two}.",
                )
            )
            a, b = a + da, b + db
        minus = f"{a} - {b} = {a - b}"
        end = ReferenceStep(f"Difference: {minus}.", f"So the difference of the two is {minus}.")
        return (look_for(f"{ones} and {others}"), *steps, end)


@dataclass(frozen=True, slots=True)
class Walk(OneImage):
    """Question about the shape at the end of a walk over one board.

    Attributes:
        board: The board.
        anchor: Color or shape that occurs once; the walk begins there.
        moves: Directions, keys of `MOVES`; none leaves the board.
        asked: Property of the last cell in the question: `colour` or `shape`.
    """

    board: Board
    anchor: str
    moves: tuple[str, ...]
    asked: str

    @property
    def question(self) -> str:
        """Start of the walk, its moves and the question about its end."""
        what = "colour is the shape" if self.asked == "colour" else "shape is"
        way = ", ".join(f"{number} {move}" for number, move in enumerate(self.moves, 1))
        return f"Start at the {thing(self.anchor)}. Then: {way}. What {what} there at the end?"

    def _path(self) -> list[tuple[int, int]]:
        """Return row and column of all cells of the walk, up to the border of the board."""
        at = next(
            (
                (r, c)
                for r, row in enumerate(self.board)
                for c, cell in enumerate(row)
                if matches(cell, self.anchor)
            ),
            None,
        )
        path = [] if at is None else [at]
        for move in self.moves if path else ():
            down, right = MOVES[move]
            r, c = path[-1][0] + down, path[-1][1] + right
            if not (0 <= r < 3 and 0 <= c < 3):
                break
            path.append((r, c))
        return path

    def ways(self) -> list[str]:
        """Return the moves that can follow: on the board, and not back at once."""
        back = BACK[self.moves[-1]] if self.moves else ""
        longer = {move: replace(self, moves=(*self.moves, move)) for move in MOVES}
        return [
            move
            for move, walk in longer.items()
            if move != back and len(walk._path()) == len(self.moves) + 2
        ]

    @property
    def answer(self) -> str:
        """Color or shape of the last cell; 'none' if there is none."""
        path = self._path()
        cell = self.board[path[-1][0]][path[-1][1]] if path else None
        return "none" if cell is None else cell[1] if self.asked == "colour" else cell[2]

    @property
    def steps(self) -> tuple[ReferenceStep, ...]:
        """Reference reasoning: the board row by row, then the walk cell by cell."""
        path, steps = self._path(), [look_for(f"the {thing(self.anchor)}")]
        for r, name in enumerate(ROWS):
            shapes = [plain_name(cell) for cell in self.board[r]]
            here = bool(path) and path[0][0] == r
            if here:
                shapes[path[0][1]] += f" is {PLACES[path[0][1]]}"
            row = ", ".join(shapes)
            steps.append(
                ReferenceStep(
                    f"{name} row: {row}.",
                    f"Now I look at the {name.lower()} row, and there I see: {row}. "
                    f"Is the {thing(self.anchor)} in this row: {'yes' if here else 'no'}.",
                )
            )
        if not path:
            return tuple(steps)
        for number, (move, (r, c)) in enumerate(zip(self.moves, path[1:], strict=False), 1):
            where = f"{ROWS[r].lower()} row, {PLACES[c]}"
            steps.append(
                ReferenceStep(
                    f"Step {number} {move}: {where}.",
                    f"With step {number} {move} I look at the {where}.",
                )
            )
        r, c = path[-1]
        cell = plain_name(self.board[r][c])
        end = ReferenceStep(
            f"{ROWS[r]} row, {PLACES[c]}: {cell}.",
            f"Now I look at the {ROWS[r].lower()} row, and there the {PLACES[c]} is this: {cell}.",
        )
        return (*steps, end)

    @property
    def transcript(self) -> str:
        """All cells as text, row by row."""
        return Count(self.board, "").transcript

    def paint(self, canvas: Canvas) -> None:
        """Draw all shapes."""
        Count(self.board, "").paint(canvas)

    def misread(self, rng: Random) -> Self:
        """Return the same question with one cell changed, added or removed."""
        return replace(self, board=changed(self.board, rng))


def _tally(boards: tuple[Board, ...], word: str) -> int:
    return sum(matches(cell, word) for board in boards for row in board for cell in row)


def _boards(rng: Random, level: int, favor: tuple[str, ...]) -> tuple[Board, ...]:
    return tuple(random_board(rng, rng.randint(4, 8), favor) for _ in range(level + 1))


def _count(rng: Random, level: int) -> LongCount:
    word = rng.choice((*COLORS, *SHAPES, *SIZES))
    wanted = rng.randint(2, 4 * level + 3)
    while True:
        scene = LongCount(_boards(rng, level, (word,) if wanted > 2 * level else ()), word)
        if int(scene.answer) == wanted:
            return scene


def _compare(rng: Random, level: int) -> LongCompare:
    first, second = rng.sample(rng.choice((tuple(COLORS), SHAPES)), 2)
    wanted = rng.randint(0, 5)
    while True:
        scene = LongCompare(_boards(rng, level, (first, first, second)), first, second)
        if int(scene.answer) == wanted:
            return scene


def _walk(rng: Random, level: int) -> Walk:
    while True:
        board = random_board(rng, rng.randint(6, 9), ())
        words = [word for row in board for cell in row if cell for word in cell[1:]]
        single = [word for word in words if words.count(word) == 1]
        if not single:
            continue
        scene = Walk(board, rng.choice(single), (), rng.choice(("colour", "shape")))
        for _ in range(rng.randint(2 + 3 * level, 4 + 3 * level)):
            scene = replace(scene, moves=(*scene.moves, rng.choice(scene.ways())))
        if scene.answer not in ("none", scene.anchor):
            return scene


def generate(rng: Random, level: int) -> LongCount | LongCompare | Walk:
    """Draw random boards or a walk; higher levels (1 to 3) are longer."""
    return rng.choice((_count, _compare, _walk))(rng, level)
