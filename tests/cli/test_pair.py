"""`dreamr pair`, and the option `--pair` of the other commands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dreamr._option_specs import BadOption
from dreamr.cli import main
from dreamr.cli.train import sapo_values
from dreamr.engines import Model, ModelSource
from dreamr.errors import EngineLost
from dreamr.pairs import choose_pair, schema
from dreamr.training import SapoOptions
from support.pairs import Pair

FILE = """\
models:
  big:
    url: http://gpu1:8000/v1
    api_key: ${BIG_KEY}
  small: {url: 'http://gpu2:8000/v1', model: tiny}
  weights: {launch: {engine: local, model: org/draft, revision: v2, devices: [1]}}
pairs:
  both: {target: big, draft: small, window: 3, max_tokens: 900}
  plain: {target: big}
  mixed: {target: big, draft: weights}
gateway: {port: 8600}
"""
RUN = ["run", "What do tea and milk cost together?", "--json"]


@dataclass
class Opened(Pair):
    """A scripted pair that remembers how its models were opened."""

    sources: dict[str, ModelSource] = field(default_factory=dict)

    async def __call__(self, source: ModelSource) -> Model:
        self.sources[source.role] = source
        return await super().__call__(source)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BIG_KEY", "hush")
    path = tmp_path / "pair.yaml"
    path.write_text(FILE)
    return str(path)


def ran(capsys: pytest.CaptureFixture[str], opened: Pair, *argv: str) -> dict[str, Any]:
    assert main([*RUN, *argv], open_model=opened) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv), open_model=Pair()) == 2
    return capsys.readouterr().err.strip()


def test_a_run_takes_models_keys_and_options_from_the_file(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Opened()
    result = ran(capsys, opened, "--pair", file)
    assert (result["options"]["window"], result["options"]["max_tokens"]) == (3, 900)
    assert result["options"]["target"] == "http://gpu1:8000/v1"
    assert opened.sources["target"].api_key == "hush"
    assert opened.sources["draft"].server_model == "tiny"
    assert opened.sources["draft"].api_key is None


def test_no_output_of_a_run_has_the_key(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened, trace = Opened(), tmp_path / "trace.jsonl"
    argv = ["--pair", file, "--trace", str(trace), "--html", str(tmp_path / "t.html")]
    assert main([*RUN, *argv], open_model=opened) == 0
    said = capsys.readouterr()
    written = [path.read_text() for path in (trace, tmp_path / "t.html")]
    assert "hush" not in "".join([said.out, said.err, repr(opened.sources), *written])


def test_flags_and_variables_override_the_file(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DREAMR_MAX_TOKENS", "700")
    result = ran(capsys, Pair(), "--pair", file, "--window", "5")
    assert (result["options"]["window"], result["options"]["max_tokens"]) == (5, 700)


def test_a_pair_is_chosen_by_name(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    opened = Opened()
    assert ran(capsys, opened, "--pair", f"{file}:plain")["options"]["method"] == "target"
    assert set(opened.sources) == {"target"}
    ran(capsys, opened, "--pair", f"{file}:mixed")
    draft = opened.sources["draft"]
    assert (draft.name, draft.revision, draft.device) == ("org/draft", "v2", "cuda:1")


def test_the_variable_names_a_file_too(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DREAMR_PAIR", file)
    assert ran(capsys, Pair())["options"]["window"] == 3
    argv = [*RUN, "--target", "http://other:1/v1"]
    assert main(argv, open_model=Pair()) == 0
    said = capsys.readouterr()
    assert "warning: DREAMR_PAIR has no effect with --target" in said.err
    assert json.loads(said.out)["options"]["window"] == 8
    monkeypatch.setenv("DREAMR_DRAFT", "http://other:2/v1")
    expected = "DREAMR_PAIR and DREAMR_DRAFT both choose the models: unset one of them"
    assert expected in refused(capsys, *RUN)
    assert main([*RUN, "--pair", file], open_model=Pair()) == 0
    said = capsys.readouterr()
    assert "warning: DREAMR_DRAFT has no effect with --pair" in said.err
    assert json.loads(said.out)["options"]["draft"] == "http://gpu2:8000/v1"


def test_models_are_not_chosen_twice(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *RUN, "--pair", file, "--draft-model", "x")
    assert said == "dreamr: --pair and --draft-model both choose the models: leave out one of them"


def test_a_plain_model_has_no_draft_for_other_methods(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*RUN, "--pair", f"{file}:plain", "--method", "fpsr"]
    assert main(argv, open_model=Pair()) == 1
    assert "'plain' of" in (said := capsys.readouterr().err)
    assert "has no draft: add one, or choose a method without a draft" in said


def test_a_fault_of_the_file_ends_a_command(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).write_text(FILE.replace("window", "windw"))
    said = refused(capsys, *RUN, "--pair", file)
    assert said == f'dreamr: {file}:8:37: unknown key "windw": did you mean "window"?'


def test_the_doctor_opens_the_models_of_the_file(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Opened()
    main(["doctor", "--quick", "--json", "--pair", file], open_model=opened)
    assert opened.sources["target"].name == "http://gpu1:8000/v1"
    assert opened.sources["target"].api_key == "hush"
    main(["doctor", "--quick", "--json", "--pair", f"{file}:plain"], open_model=opened)
    findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "has no draft" in findings[-1]["what"]


@pytest.mark.parametrize(
    "argv",
    [
        ["serve", "--port", "0"],
        ["batch", "x.jsonl", "--out", "y.jsonl"],
        ["bench", "run", "--out", "x"],
        ["calibrate", "--out", "x.json"],
        ["train", "record", "--out", "x"],
        ["train", "measure"],
        ["train", "sapo", "--out", "x"],
        ["doctor"],
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_every_command_with_models_reads_the_file_first(
    argv: list[str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).write_text(FILE.replace("gpu2:8000", "gpu2:99999"))
    assert ":5:16: url:" in refused(capsys, *argv, "--pair", file)


def test_check_shows_what_is_declared_without_secrets(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pair", "check", file], open_model=Pair()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert ["both", "big", "small", "max_tokens", "900,", "window", "3"] in rows
    assert ["plain", "big", "-", "method", "target"] in rows
    assert ["big", "http://gpu1:8000/v1", "its", "only", "model", "$BIG_KEY"] in rows
    assert ["weights", "local,", "cuda", "1", "org/draft@v2", "-"] in rows
    assert ["127.0.0.1:8600", "-"] in [row[1:] for row in rows]  # after the name


def test_check_shows_all_faults_and_warnings(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(file).write_text(FILE.replace("window", "windw").replace("small,", "smal,"))
    assert main(["pair", "check", file], open_model=Pair()) == 2
    assert capsys.readouterr().out.splitlines() == [
        f'{file}:8:36: unknown key "windw": did you mean "window"?'
    ]
    Path(file).write_text(FILE.replace("small,", "smal,").replace("  mixed", "  # mixed"))
    assert main(["pair", "check", file], open_model=Pair()) == 2
    assert capsys.readouterr().out.splitlines() == [
        f'{file}:8:30: no model "smal" in this file: did you mean "small"?',
        f'{file}:5:3: warning: no pair uses the model "small"',
        f'{file}:6:3: warning: no pair uses the model "weights"',
    ]


def test_check_online_asks_each_server_once(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    opened = Opened()
    assert main(["pair", "check", file, "--online"], open_model=opened) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["big: it answers", "small: it answers"]
    lost = Pair(errors={"draft": EngineLost("gpu2 cannot be reached")})
    assert main(["pair", "check", file, "--online"], open_model=lost) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "small: gpu2 cannot be reached"


def test_schema_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        ("weights", {"draft": "org/draft", "draft_revision": "v2"}),
        ("small", None),
    ],
)
def test_a_training_takes_the_weights_of_the_draft(
    draft: str, expected: dict[str, str] | None, file: str
) -> None:
    Path(file).write_text(FILE.replace("draft: weights", f"draft: {draft}, untrained: true"))
    chosen = choose_pair(file, "mixed")
    target = {"target": "http://gpu1:8000/v1", "target_model": None, "untrained": True}
    if expected is None:
        with pytest.raises(BadOption, match="does not name weights of the draft of 'mixed'"):
            sapo_values(chosen, lambda name: False)
        expected = {}
    found = sapo_values(chosen, lambda name: True)
    assert found == {**target, **expected, "target_device": "cpu"}
    SapoOptions(**found)
