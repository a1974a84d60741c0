"""Hard suites: the answers agree with a second computation from the content of the scenes."""

from __future__ import annotations

from random import Random

from dreamr_testbed.suites import draw_scene
from dreamr_testbed.suites.docmath import Line
from dreamr_testbed.suites.docmath_hard import LongChart, LongReceipt, LongTable
from dreamr_testbed.suites.parts import best_so_far, cut, located, split_parts
from dreamr_testbed.suites.story_hard import League, LongCups, LongGifts
from dreamr_testbed.suites.vqa_hard import MOVES, LongCompare, LongCount, Walk
from hypothesis import given
from hypothesis import strategies as st

indices, levels = st.integers(0, 10**6), st.integers(1, 3)


@given(indices, levels)
def test_documents_over_several_images(index: int, level: int) -> None:
    scene = draw_scene("docmath-hard", "test", index, level)
    assert 2 <= len(scene.views) <= 4
    if isinstance(scene, LongReceipt):
        costs = {line.good: line.count * line.price for line in scene.lines}
        total = sum(costs.values())
        expected = {
            "total": str(total),
            "change": str(100 - total),
            "percent": str(total * (100 - scene.rate) // 100),
            "most": max(costs, key=lambda good: costs[good]),
        }[scene.ask]
    elif isinstance(scene, LongTable):
        rows = [row for part in scene.parts for row in part]
        column = 1 + scene.days.index(scene.day) if scene.day else 0
        most = max(rows, key=lambda row: row[1] + row[2])[0]
        expected = str(sum(row[column] for row in rows)) if column else most  # type: ignore[misc]
    else:
        assert isinstance(scene, LongChart)
        values = [sum(part) * scene.scale for part in scene.parts]
        expected = str(values[0] - values[1] if scene.ask == "difference" else sum(values))
    assert scene.answer == expected


def test_the_most_on_a_receipt_is_compared_with_the_most_before() -> None:
    lines = (Line("tea", 2, 4), Line("milk", 3, 4), Line("jam", 1, 5), Line("rice", 2, 6))
    steps = LongReceipt((lines[:2], lines[2:]), "most").steps[1:-1]
    assert [step.terse for step in steps] == [
        "Image 1, line 1: tea 2 x 4 = 8, most: tea 8.",
        "Image 1, line 2: milk 3 x 4 = 12, more than 8, most: milk 12.",
        "Image 2, line 1: jam 1 x 5 = 5, not more than 12, most: milk 12.",
        "Image 2, line 2: rice 2 x 6 = 12, not more than 12, most: milk 12.",
    ]
    assert [step.wordy for step in steps[:3]] == [
        "On image 1, line 1, I see tea and it costs 2 x 4 = 8, so the most is tea 8.",
        "On image 1, line 2, I see milk and it costs 3 x 4 = 12, that is more than 8, "
        "so the most is milk 12.",
        "On image 2, line 1, I see jam and it costs 1 x 5 = 5, that is not more than 12, "
        "so the most is milk 12.",
    ]


def test_the_most_in_a_table_is_compared_with_the_most_before() -> None:
    rows = (("Ann", 3, 4), ("Bob", 5, 6), ("Cid", 1, 2), ("Eve", 2, 2))
    steps = LongTable((rows[:2], rows[2:]), ("Mon", "Tue"), "most").steps[1:-1]
    assert [step.terse for step in steps[:3]] == [
        "Image 1, row 1: Ann 3 + 4 = 7, most: Ann 7.",
        "Image 1, row 2: Bob 5 + 6 = 11, more than 7, most: Bob 11.",
        "Image 2, row 1: Cid 1 + 2 = 3, not more than 11, most: Bob 11.",
    ]
    assert [step.wordy for step in steps[:3]] == [
        "On image 1, row 1, I see Ann and that makes 3 + 4 = 7, so the most is Ann 7.",
        "On image 1, row 2, I see Bob and that makes 5 + 6 = 11, that is more than 7, "
        "so the most is Bob 11.",
        "On image 2, row 1, I see Cid and that makes 1 + 2 = 3, that is not more than 11, "
        "so the most is Bob 11.",
    ]


@given(indices, levels)
def test_boards_and_walks(index: int, level: int) -> None:
    scene = draw_scene("vqa-hard", "test", index, level)
    if isinstance(scene, Walk):
        cells = {(r, c): cell for r, row in enumerate(scene.board) for c, cell in enumerate(row)}
        r, c = next(at for at, cell in cells.items() if cell and scene.anchor in cell)
        for move in scene.moves:
            r, c = r + MOVES[move][0], c + MOVES[move][1]
        assert scene.answer == cells[r, c][1 if scene.asked == "colour" else 2]
        assert len(scene.steps) == len(scene.moves) + 5
        return
    words = [
        word for board in scene.boards for row in board for cell in row if cell for word in cell
    ]
    if isinstance(scene, LongCount):
        assert scene.answer == str(words.count(scene.word))
    else:
        assert isinstance(scene, LongCompare)
        assert scene.answer == str(words.count(scene.first) - words.count(scene.second))


@given(indices, levels)
def test_long_stories(index: int, level: int) -> None:
    scene = draw_scene("story-hard", "test", index, level)
    assert len(scene.views) == level + 1
    if isinstance(scene, LongGifts):
        own = dict(scene.cast)[scene.asked]
        start = dict(zip(dict(scene.cast), scene.start, strict=True))[scene.asked]
        got = sum(n for _, taker, n in scene.gifts if taker == own)
        given_ = sum(n for giver, _, n in scene.gifts if giver == own)
        assert scene.answer == str(start + got - given_)
    elif isinstance(scene, LongCups):
        under = {cup: cup == scene.start for cup in scene.cups}
        for one, other in scene.swaps:
            under[one], under[other] = under[other], under[one]
        assert under[scene.answer]
        assert sum(under.values()) == 1
    else:
        assert isinstance(scene, League)
        own = dict(scene.cast)[scene.asked]
        places = [place for race in scene.races for color, place in race if color == own]
        assert len(places) == level + 1
        assert scene.answer == str(sum({1: 4, 2: 3, 3: 2, 4: 1}[place] for place in places))


@given(st.integers(6, 20), st.integers(0, 999))
def test_rows_are_split_into_as_few_parts_as_hold_them(count: int, seed: int) -> None:
    parts = split_parts(range(count), Random(seed))
    assert [row for part in parts for row in part] == list(range(count))
    assert len(parts) == -(-count // 5)
    assert all(2 <= len(part) <= 5 for part in parts)
    assert cut(range(count), parts) == parts
    assert [(at.image, at.line) for at, _ in located(parts)][-1] == (len(parts), len(parts[-1]))


@given(st.lists(st.integers(0, 20), min_size=1))
def test_of_equal_values_the_first_stays_the_best(values: list[int]) -> None:
    named = [(f"n{at}", value) for at, value in enumerate(values)]
    best = best_so_far(named)
    assert [value for _, value in best] == [max(values[: at + 1]) for at in range(len(values))]
    assert best[-1][0] == f"n{values.index(max(values))}"


def test_a_step_of_a_walk_begins_with_its_number_as_in_the_question() -> None:
    star, cross = ("big", "red", "star"), ("big", "blue", "cross")
    board = ((star, None, None), (None, None, None), (None, None, cross))
    walk = Walk(board, "star", ("right", "below"), "shape")
    assert "Then: 1 right, 2 below." in walk.question
    assert walk.steps[-2].renderings == (
        "Step 2 below: middle row, second.",
        "With step 2 below I look at the middle row, second.",
    )


def test_a_league_begins_with_the_color_of_the_player_as_in_the_question() -> None:
    cast = (("Eve", "red"), ("Tom", "blue"))
    league = League(cast, ((("blue", 1), ("red", 2)),), "Tom")
    assert league.question.startswith("Eve is red, Tom is blue. ")
    assert league.steps[0].renderings == ("Start: Tom is blue.", "In this story Tom is blue.")
    assert [step.terse for step in league.steps[1:3]] == [
        "Panel 1: place 1, blue: 5 - 1 = 4, total 0 + 4 = 4.",
        "Panel 2: place 2, red: no.",
    ]
