"""Prompts and scorers of the published benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dreamr.conversation import Image, Text
from dreamr.evaluation.tasks import BadData, Item, by_unit, load
from support.published import (
    MATHVERSE,
    MMBENCH,
    MMMU,
    REALWORLDQA,
    color_of,
    mathverse,
    mmbench,
    mmmu,
    stored_image,
    write,
)

SCHEMAS = {"mathverse": MATHVERSE, "mmbench": MMBENCH, "realworldqa": REALWORLDQA, "mmmu": MMMU}


def items_of(folder: Path, task: str, *rows: dict[str, Any]) -> list[Item]:
    return list(load(task, source=write(folder / "rows.parquet", SCHEMAS[task], list(rows))))


def text_of(item: Item) -> str:
    return "".join(
        part.text for part in item.conversation.turns[-1].parts if isinstance(part, Text)
    )


def realworldqa(question: str, answer: str) -> dict[str, Any]:
    return {"image": stored_image(form="WEBP"), "question": question, "answer": answer}


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("mathverse", mathverse()),
        ("mmbench", mmbench()),
        ("realworldqa", realworldqa("Where?\n\nA. Left\nB. Right", "B")),
        ("mmmu", mmmu()),
    ],
)
def test_every_set_asks_for_steps_and_the_marker(
    tmp_path: Path, task: str, row: dict[str, Any]
) -> None:
    item, *_ = items_of(tmp_path, task, row)
    item.conversation.check()
    assert item.task == task
    assert "step by step, with a blank line between two steps" in text_of(item)
    assert text_of(item).endswith('"Answer:" and then the letter of the right choice.')
    assert item.right("One.\n\nAnswer: B") is True
    assert item.right("One.\n\nAnswer: A") is False
    assert item.right("") is False
    assert item.read("no idea") is None
    assert item.check(0, "whatever") is None


def test_mathverse_reads_choices_by_letter_or_by_value(tmp_path: Path) -> None:
    (item,) = items_of(tmp_path, "mathverse", mathverse())
    assert (item.id, item.kind) == ("1", "Text Dominant")
    assert item.right("Answer: 40°")
    assert item.right("Answer: B:40°")
    assert not item.right("Answer: 30°")


def test_mathverse_compares_free_answers_as_values(tmp_path: Path) -> None:
    free = mathverse(question="How long?", answer="2\\sqrt{3}", question_type="free-form")
    (item,) = items_of(tmp_path, "mathverse", free)
    assert text_of(item).endswith("and then the value alone.")
    assert item.right("Answer: $2\\sqrt{3}$ cm")
    assert item.right("Answer: x = 3.4641")
    assert not item.right("Answer: 3.4")
    assert item.read("Answer: 3.4") == "3.4"


def test_mathverse_has_a_version_with_the_question_in_the_image(tmp_path: Path) -> None:
    only = mathverse(
        question="",
        problem_version="Vision Only",
        question_for_eval="How big?\nChoices:\nA:30°\nB:40°",
    )
    (item,) = items_of(tmp_path, "mathverse", only)
    assert text_of(item).startswith("Answer the question that is written in the picture.")
    assert item.right("Answer: 40°")


def test_mathverse_has_a_version_without_images(tmp_path: Path) -> None:
    rows = [mathverse(problem_version=name, image=None) for name in ("Text Only", "Text Lite")]
    items = load("mathverse", source=write(tmp_path / "a.parquet", MATHVERSE, rows))
    assert items[0].conversation.images == ()
    with pytest.raises(BadData, match=r"a\.parquet: mathverse 1 has no image data"):
        items[1]


def test_mmbench_counts_a_question_only_if_every_rotation_is_right(tmp_path: Path) -> None:
    turned = mmbench(index=10**6 + 241, A="a cat", B="a cow", C="a dog", answer="A")
    other = mmbench(index=7, D="a horse", answer="D")
    items = items_of(tmp_path, "mmbench", mmbench(), turned, other)
    assert [(item.index, item.unit) for item in items] == [(241, "241"), (1000241, "241"), (7, "7")]
    said_b = [(item, item.right("Answer: B")) for item in items]
    said_cat = [(item, item.right("Answer: a cat")) for item in items]
    assert list(by_unit(said_b).values()) == [False, False]
    assert by_unit(said_cat) == {("mmbench", "241"): True, ("mmbench", "7"): False}


def test_mmbench_rotates_the_choices_if_the_file_has_not(tmp_path: Path) -> None:
    items = items_of(tmp_path, "mmbench", mmbench(), mmbench(index=7, D="a horse"))
    assert [item.index for item in items] == [
        *(241, 1_000_241, 2_000_241),
        *(7, 1_000_007, 2_000_007, 3_000_007),
    ]
    assert [letter for item in items for letter in "ABCD" if item.right(letter)] == list("BACBADC")
    assert "A. a cow\nB. a dog\nC. a cat\n" in text_of(items[2])
    assert all(item.right("Answer: a cat") for item in items)


def test_mmbench_leaves_out_what_is_missing_and_shows_a_hint(tmp_path: Path) -> None:
    plain, hinted = items_of(
        tmp_path, "mmbench", mmbench(), mmbench(index=10**6, hint="It purrs.", D=None)
    )
    assert text_of(plain).startswith("What is it?\nA. a dog\nB. a cat\nC. a cow\n\nReason")
    assert text_of(hinted).startswith("It purrs.\nWhat is it?\nA. a dog")


def test_mmbench_draws_whole_questions(tmp_path: Path) -> None:
    rows = [mmbench(index=number + turn) for number in range(9) for turn in (0, 10**6, 2 * 10**6)]
    items = load("mmbench", limit=2, source=write(tmp_path / "a.parquet", MMBENCH, rows))
    assert len(items) == 6
    assert len({item.unit for item in items}) == 2


def test_mmbench_refuses_rows_without_an_answer_and_duplicate_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", MMBENCH, [mmbench(answer=None)])
    with pytest.raises(BadData, match=r"a\.parquet: mmbench 241 has no answer among its choices"):
        load("mmbench", source=path)[0]
    twice = write(tmp_path / "b.parquet", MMBENCH, [mmbench(), mmbench()])
    with pytest.raises(BadData, match="two rows have the same index"):
        load("mmbench", source=twice)


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        ("2", ["2", "two", "Answer: Two.", "2.0"], ["3", "three", "22"]),
        ("Downhill", ["downhill", "Answer: **Downhill**."], ["uphill", "not downhill"]),
        ("3/4", ["0.75", "6/8"], ["0.7", "3-4", "3/4/1"]),
        ("5 m", ["5", "5 meters"], ["5 cm", "5 min"]),
        ("3-2", ["3-2", "Answer: **3-2**."], ["2-1", "1", "3 2"]),
        ("2021-05-03", ["The answer is 2021-05-03."], ["2021-03-05", "2013"]),
        ("10-20", ["10-20"], ["20-30", "-10"]),
        ("555-1234", ["555-1234"], ["554-1233", "-679"]),
        ("1920 x 1080", ["1920 X 1080"], ["1080 x 1920"]),
        ("1920\u00d71080", ["1920\u00d71080"], ["1080\u00d71920", "2073600"]),
    ],
)
def test_realworldqa_compares_words_and_numbers(
    tmp_path: Path, answer: str, right: list[str], wrong: list[str]
) -> None:
    question = "How many? Please answer directly with a single word or number."
    (item,) = items_of(tmp_path, "realworldqa", realworldqa(question, answer))
    assert item.kind == "open"
    assert "directly" not in text_of(item)
    assert all(item.right(text) for text in right)
    assert not any(item.right(text) for text in wrong)


def test_realworldqa_lets_the_model_reason(tmp_path: Path) -> None:
    question = (
        "Where is the door?\n\nA. Left\nB. Right\n"
        "Please answer directly with only the letter of the correct option and nothing else."
    )
    (item,) = items_of(tmp_path, "realworldqa", realworldqa(question, "B"))
    assert item.kind == "choice"
    assert text_of(item).startswith("Where is the door?\n\nA. Left\nB. Right\n\nReason step")
    assert item.right("Answer: right")


def test_mmmu_shows_images_where_question_and_choices_name_them(tmp_path: Path) -> None:
    row = mmmu(
        question="<image 1> Which of these is like <image 1>?",
        options="['<image 2>', '<image 3>']",
        image_2=stored_image("blue"),
        image_3=stored_image("lime"),
        image_4=stored_image("white"),
    )
    (item,) = items_of(tmp_path, "mmmu", row)
    shown = [
        color_of(part) if isinstance(part, Image) else part.text
        for part in item.conversation.turns[-1].parts
    ]
    assert shown[:-1] == [
        (255, 0, 0),
        " Which of these is like <image 1>?\nA. ",
        (0, 0, 255),
        "\nB. ",
        (0, 255, 0),
    ]


def test_mmmu_shows_images_first_that_no_text_names(tmp_path: Path) -> None:
    (item,) = items_of(tmp_path, "mmmu", mmmu(question="Who?"))
    assert [type(part) for part in item.conversation.turns[-1].parts] == [Image, Text]
    assert item.kind == "Art_Theory"


def test_mmmu_takes_the_last_letter_and_never_guesses(tmp_path: Path) -> None:
    (item,) = items_of(tmp_path, "mmmu", mmmu())
    assert item.right("(A) painted dogs, so it is (B)")
    assert item.right("Answer: O'Keeffe")
    assert item.read("I cannot see it") is None
    assert not item.right("I cannot see it")


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        ("8.33", ["8.33", "8.331", "Answer: so x = 8.33", "$8.33 a share"], ["8.3", "833"]),
        ("1,000", ["1000", "1,000 dollars"], ["100", "10000"]),
        ("['24/7', '3.429']", ["24/7", "3.43", "x = 3.429"], ["24", "7"]),
        ("transmission", ["Transmission", "the transmission network"], ["reflection"]),
        ("c", ["C", "it is c"], ["concave"]),
    ],
)
def test_mmmu_scores_open_questions_by_the_published_rule(
    tmp_path: Path, answer: str, right: list[str], wrong: list[str]
) -> None:
    (item,) = items_of(tmp_path, "mmmu", mmmu(answer=answer, question_type="open", options="[]"))
    assert text_of(item).endswith("and then a single word, number or phrase.")
    for text in right:
        assert item.right(text), text
    for text in wrong:
        assert not item.right(text), text


@pytest.mark.parametrize("options", ["['open", "{[]: 1}", "3", None])
def test_mmmu_names_the_row_without_a_list_of_choices(tmp_path: Path, options: str | None) -> None:
    path = write(tmp_path / "a.parquet", MMMU, [mmmu(options=options)])
    with pytest.raises(BadData, match=r"a\.parquet: mmmu validation_Art_Theory_3: .* choices") as e:
        load("mmmu", source=path)[0]
    assert "\n" not in str(e.value)


def test_mmbench_names_the_row_without_an_index(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", MMBENCH, [mmbench(), mmbench(index=None)])
    with pytest.raises(BadData, match=r"a\.parquet: row 1: the index must be a whole number"):
        load("mmbench", source=path)
