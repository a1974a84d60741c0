"""Questions are heard as counts of real transcripts say."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from dreamr_testbed.suites import draw_scene
from dreamr_testbed.suites.spoken.hearing import Voice, aligned, counted, voices
from dreamr_testbed.suites.spoken.scene import Spoken
from dreamr_testbed.suites.spoken.speaking import speakers
from hypothesis import given
from hypothesis import strategies as st

from dreamr.errors import Unsupported

SAID = ["tea", "milk", "jam", "Cid", "Gus", "what", "is", "20"]
words = st.lists(st.sampled_from(SAID), min_size=1, max_size=8)


def test_a_word_is_heard_as_often_wrong_as_it_was() -> None:
    voice = Voice("one", {"cid": {"sid": 3, "cid": 1}})
    rng = Random(0)
    found = [voice.hear("Is Cid red?", rng) for _ in range(400)]
    assert set(found) == {"Is Cid red?", "Is Sid red?"}
    assert 250 < found.count("Is Sid red?") < 350


def test_a_word_that_is_left_out_leaves_no_gap() -> None:
    voice = Voice("one", {"tea": {"": 1}, "jam": {"": 1}})
    assert voice.hear("What do tea and jam cost? More jam.", Random(0)) == "What do and cost? More."


@given(words, st.integers(0, 99))
def test_without_errors_a_transcript_is_what_was_said(said: list[str], seed: int) -> None:
    text = " ".join(said) + "?"
    assert Voice("one", {}).hear(text, Random(seed)) == text
    assert aligned(text, text) == [(word.lower(), word.lower()) for word in said]
    assert counted(aligned(text, text)) == {}


@given(words, words)
def test_all_words_are_aligned_once(said: list[str], transcript: list[str]) -> None:
    pairs = aligned(" ".join(said), " ".join(transcript))
    assert [word for word, _ in pairs] == [word.lower() for word in said]
    heard = " ".join(found for _, found in pairs).split()
    expected = [word.lower() for word in transcript]
    # Words before the first one that was said have no word to belong to.
    assert heard == expected[len(expected) - len(heard) :]


def test_counts_name_only_words_that_were_misheard() -> None:
    pairs = aligned("tea and Cid, tea and Gus", "T and Cid tea and guess")
    assert counted(pairs) == {"gus": {"guess": 1}, "tea": {"t": 1, "tea": 1}}


@given(st.integers(0, 10**6))
def test_a_spoken_scene_keeps_all_but_its_question(index: int) -> None:
    scene = draw_scene("pages", "test", index)
    spoken = Spoken(scene, "What?")
    assert (spoken.answer, spoken.steps, spoken.medium) == (scene.answer, scene.steps, "pages")
    assert len(spoken.views) == len(scene.views)
    assert spoken.misread(Random(index)).question == "What?"
    assert spoken.misread(Random(index)).scene == scene.misread(Random(index))


def test_some_questions_are_heard_right_and_some_wrong() -> None:
    assert len(voices()) >= 3
    scenes = [draw_scene("spoken", "test", index) for index in range(300)]
    assert all(isinstance(scene, Spoken) for scene in scenes)
    right = sum(
        isinstance(scene, Spoken) and scene.question.lower() == scene.scene.question.lower()
        for scene in scenes
    )
    assert 30 < right < 270


def test_without_a_voice_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DREAMR_SPEECH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match=r"no voice is installed: run scripts/engines/install"):
        speakers()


def test_installed_voices_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("venv/bin/python", "voice.onnx", "flite"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
    monkeypatch.setenv("DREAMR_SPEECH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    names = [voice.name for voice in speakers()]
    assert names[0] == "piper"
    assert all(name.startswith("flite ") for name in names[1:])
    assert len(names) > 2
