"""Transcribers of a pair, in each format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dreamr._option_specs import BadOption
from dreamr.pairs import PairFile, read_pair_file
from dreamr.serving.deploy import Format, deployment_files, warnings


def transcribing(folder: Path, transcriber: str) -> PairFile:
    path = folder / "pair.yaml"
    pair = f"{{target: m, transcriber: '{transcriber}'}}"
    path.write_text(f"models: {{m: {{url: http://h:1/v1}}}}\npairs: {{p: {pair}}}\n")
    return read_pair_file(path)


@pytest.mark.parametrize("transcriber", ["./whisper", "small"])
@pytest.mark.parametrize("form", ["compose", "kubernetes"])
def test_images_have_no_transcriber(transcriber: str, form: Format, tmp_path: Path) -> None:
    (tmp_path / "whisper").mkdir()
    with pytest.raises(BadOption, match="pair p: the gateway's image has no faster-whisper") as no:
        deployment_files(transcribing(tmp_path, transcriber), form)
    assert "\n" not in str(no.value)
    assert deployment_files(transcribing(tmp_path, "http://t:1/v1"), form)


@pytest.mark.parametrize("form", ["compose", "kubernetes", "systemd"])
def test_the_key_of_a_transcriber_may_be_left_empty(form: Format, tmp_path: Path) -> None:
    texts = deployment_files(transcribing(tmp_path, "http://t:1/v1"), form)
    (example,) = (text for name, text in texts.items() if name.endswith(".example"))
    assert re.search(r"DREAMR_TRANSCRIBER_API_KEY(=|: '')$", example, re.MULTILINE)
    if form == "compose":
        environment = yaml.safe_load(texts["compose.yaml"])["services"]["gateway"]["environment"]
        assert environment == {"DREAMR_TRANSCRIBER_API_KEY": "${DREAMR_TRANSCRIBER_API_KEY:-}"}
    if form == "kubernetes":
        assert "key: DREAMR_TRANSCRIBER_API_KEY" in texts["gateway.yaml"]


@pytest.mark.parametrize("form", ["ray", "systemd"])
def test_a_folder_with_a_transcriber_is_not_copied(form: Format, tmp_path: Path) -> None:
    (tmp_path / "whisper").mkdir()
    file = transcribing(tmp_path, "./whisper")
    assert f"transcriber: {tmp_path / 'whisper'}\n" in "".join(
        deployment_files(file, form).values()
    )
    (line,) = warnings(file, form)
    assert line.startswith(f"pair p: the transcriber {tmp_path / 'whisper'} is not copied: put it")
    assert not warnings(transcribing(tmp_path, "small"), form)
