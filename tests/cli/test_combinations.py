"""Options without effect are warned about, contradictions are refused."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from dreamr import BadOption, RunOptions
from dreamr._option_specs import OptionRules
from dreamr._options import MODEL_OPTIONS
from dreamr.cli import bench, calibrate, doctor, run, serve, simulate, train
from dreamr.cli.flags import Declared, command, run_flags
from dreamr.evaluation.bench import BenchOptions
from dreamr.evaluation.calibration import RUN_OPTIONS as CALIBRATE_FLAGS
from dreamr.evaluation.calibration import CalibrateOptions
from dreamr.evaluation.simulator.options import RUN_OPTIONS as SIMULATE_FLAGS
from dreamr.evaluation.simulator.options import SimulateOptions
from dreamr.serving.options import ServeOptions
from dreamr.training import MeasureOptions, RecordOptions, RecordsOptions, SapoOptions

ALL = run_flags()
COMMANDS: dict[str, tuple[tuple[Declared, ...], OptionRules]] = {
    "run": ((ALL,), run._RULES),
    "serve": ((Declared(ServeOptions), run_flags(serve._RUN_FLAGS)), serve._RULES),
    "bench": ((Declared(BenchOptions), run_flags(bench._SHARED)), bench._RULES),
    "calibrate": ((Declared(CalibrateOptions), run_flags(CALIBRATE_FLAGS)), calibrate._RULES),
    "doctor": ((run_flags(MODEL_OPTIONS),), doctor._RULES),
    "simulate": ((Declared(SimulateOptions), run_flags(SIMULATE_FLAGS)), simulate._RULES),
    "record": ((Declared(RecordOptions), ALL), train._RULES["record"]),
    "measure": (
        (Declared(MeasureOptions), run_flags(train._OF_A_DRAFT)),
        train._RULES["measure"],
    ),
    "sapo": ((Declared(SapoOptions),), train._RULES["sapo"]),
    "from-traces": ((Declared(RecordsOptions),), train._RULES["from-traces"]),
}


def read(line: str) -> None:
    """Read a command line as its command does, and run nothing."""
    name, *arguments = line.split()
    declared, rules = COMMANDS[name]
    app = typer.Typer()
    app.command()(command(lambda *options: None, *declared, rules=rules))
    app(arguments, standalone_mode=False)


@pytest.mark.parametrize(
    "name", ["run", "serve", "bench", "calibrate", "doctor", "record", "measure"]
)
def test_commands_that_open_a_pair_take_all_options_of_its_models(name: str) -> None:
    taken = {flag.name for declared in COMMANDS[name][0] for flag in declared.flags()}
    assert taken.issuperset(MODEL_OPTIONS)


URL = "http://gpu1:8000/v1"


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("run --target-confidence 0.5", "--target-confidence has no effect without --gate cascade"),
        ("run --method specreason --gate cascade", "--gate has no effect with --method specreason"),
        (
            "run --method target --gate cascade --draft-confidence 0.9",
            "--draft-confidence has no effect with --method target",
        ),
        ("run --threshold 0.5 --profile p", "--threshold has no effect with --profile"),
        ("run --gate adaptive --profile p", "--gate has no effect with --profile"),
        ("run --profile p --method target", "--profile has no effect with --method target"),
        ("run --score 8", "--score has no effect without --method specreason"),
        ("run --method token-sd --resamples 2", "--resamples has no effect with --method token-sd"),
        ("run --method parse --window 4", "--window has no effect with --method parse"),
        ("run --method sequential --fallback idle", "--fallback has no effect with --method"),
        ("run --method lookahead --final-answer draft", "--final-answer has no effect with"),
        ("run --method draft --token-reuse off", "--token-reuse has no effect with --method draft"),
        ("run --method target --token-reuse off", "--token-reuse has no effect with --method"),
        ("run --method lookahead --judge-prompt x", "--judge-prompt has no effect with --method"),
        ("run --method draft --target x", "--target has no effect with --method draft"),
        ("run --method target --draft x", "--draft has no effect with --method target"),
        ("run --method target --draft-device cpu", "--draft-device has no effect with --method"),
        (f"run --target {URL} --draft {URL} --device cuda", "--device has no effect on models"),
        (f"run --draft {URL} --draft-device cuda", "--draft-device has no effect if --draft is"),
        (f"run --target {URL} --draft {URL} --dtype float32", "--dtype has no effect on models"),
        ("run --method target --draft-dtype float32", "--draft-dtype has no effect with --method"),
        (f"run --draft {URL} --draft-dtype float32", "--draft-dtype has no effect if --draft is"),
        (f"sapo --target {URL} --dtype float32", "--dtype has no effect if --target is a server"),
        (f"run --target {URL} --draft {URL} --threads 2", "--threads has no effect on served"),
        (f"run --target {URL} --draft {URL} --untrained", "--untrained has no effect on served"),
        ("run --max-pixels 9", "--max-pixels has no effect on local models"),
        (
            f"run --draft {URL} --max-pixels 9 --draft-max-pixels 9",
            "--max-pixels has no effect on local models",
        ),
        (f"run --method draft --target {URL} --max-pixels 9", "--max-pixels has no effect on"),
        (f"run --target {URL} --draft-max-pixels 9", "--draft-max-pixels has no effect unless"),
        ("run --target-model x", "--target-model has no effect unless --target is a server URL"),
        ("run --draft ./d --draft-model x", "--draft-model has no effect unless --draft is"),
        (
            f"run --target {URL} --revision v2",
            "--revision has no effect unless --target is a Hugging Face ID",
        ),
        ("run --draft . --draft-revision v2", "--draft-revision has no effect unless --draft is"),
        ("run --method draft --draft a/b --revision v2", "--revision has no effect with --method"),
        ("from-traces --draft-revision v2", "--draft-revision has no effect unless --draft is"),
        (f"run --target {URL} --token-reuse off", "--token-reuse has no effect if --target is"),
        ("run --top-p 0.9", "--top-p has no effect without a --temperature above 0"),
        ("run --seed 3", "--seed has no effect with greedy decoding"),
        (f"run --target {URL} --temperature 0 --seed 3", "--seed has no effect with greedy"),
        ("run --min-p 0.1 --top-k 9", "--min-p has no effect without a --temperature above 0"),
        ("run --top-k 9 --no-model-defaults", "--no-model-defaults has no effect if an option"),
        ("serve --audit-risk 0.1", "--audit-risk has no effect without --audit-every"),
        ("serve --audit-lower", "--audit-lower has no effect without --audit-every"),
        ("serve --method target --audit-every 9", "--audit-every has no effect with --method"),
        ("serve --tune --window 4", "--window has no effect with --tune"),
        ("serve --tune --method target", "--tune has no effect with --method target"),
        ("serve --no-load-aware --method draft", "--no-load-aware has no effect with --method"),
        ("serve --threshold 0.5 --profile p", "--threshold has no effect with --profile"),
        ("bench --smoke --limit 9", "--limit has no effect with --smoke"),
        ("bench --profile p", "--profile has no effect without --method fpsr-profile"),
        ("bench --method target --threshold 0.5", "--threshold has no effect with --method target"),
        (
            "bench --method fpsr-draft-confidence-95 --final-answer draft",
            "--final-answer has no effect because every chosen method sets it",
        ),
        ("bench --source mmmu=x --task story", "--source has no effect without --task"),
        ("calibrate --target-confidence 0.5", "--target-confidence has no effect without --gate"),
        ("calibrate --window 4", "--window has no effect without --by answers"),
        (f"calibrate --target {URL} --draft {URL} --device cuda", "--device has no effect"),
        ("doctor --target-model x", "--target-model has no effect unless"),
        ("measure --draft-model x", "--draft-model has no effect unless"),
        ("record --out x --score 8", "--score has no effect without --method specreason"),
        ("simulate --replay b --acceptance 0.5", "--acceptance has no effect with --replay"),
        ("simulate --replay b --window 4", "--window has no effect with --replay"),
        ("simulate --models 2B/32B --draft-cost 1", "--draft-cost has no effect with --models"),
        ("simulate --sweep --out m --requests 9", "--requests has no effect with --sweep"),
        ("simulate --sweep --out m --json", "--json has no effect with --sweep"),
        (
            "simulate --sweep --out m --models 2B/32B --acceptance 0.5",
            "--acceptance has no effect with --sweep and --models",
        ),
        ("simulate --resample-acceptance 0.5", "--resample-acceptance has no effect without"),
        (
            "simulate --method lookahead --skipped-verification 0.5",
            "--skipped-verification has no effect with --method lookahead",
        ),
        ("simulate --method parse --window 4", "--window has no effect with --method parse"),
        ("simulate --method target --draft-cost 1", "--draft-cost has no effect with --method"),
        ("sapo --step-credit --counting tokens", "--counting has no effect with --step-credit"),
        ("sapo --target-model x", "--target-model has no effect unless"),
        (f"sapo --target {URL} --target-device cuda", "--target-device has no effect if"),
        ("from-traces --beta 0.2", "--beta has no effect without --method dpo"),
    ],
)
def test_an_option_without_effect_gives_one_warning(
    line: str, warning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read(line)
    output, shown = capsys.readouterr()
    assert output == ""
    (one,) = [found for found in shown.splitlines() if warning in found]
    assert one.startswith("warning: ")


@pytest.mark.parametrize(
    "line",
    [
        "run",
        "run --gate cascade --target-confidence 0.5 --draft-confidence 0.9 --threshold 0.6",
        "run --profile p --window 4 --fallback idle --final-answer draft",
        "run --method specreason --score 8 --final-answer draft",
        "run --method target --token-reuse ngram --max-tokens 9",
        "run --temperature 1 --top-p 0.9 --seed 3",
        "run --resamples 2 --seed 3",
        f"run --target {URL} --device cuda --threads 2",
        f"run --target {URL} --dtype bfloat16 --deterministic",
        f"run --draft {URL} --dtype bfloat16",
        "sapo --dtype float32",
        f"run --target {URL} --max-pixels 0",
        f"run --draft {URL} --max-pixels 500000",
        f"run --target {URL} --draft {URL} --max-pixels 9 --draft-max-pixels 9",
        f"run --target {URL} --target-model x --draft ./d --draft-device cuda",
        "run --target embedded --target-model x",  # a named model may be served
        "run --target owner/a --revision v2 --draft owner/b --draft-revision main",
        "run --target embedded --revision v2",  # a named model may be on the hub
        "from-traces --draft owner/b --draft-revision main",
        "serve --audit-every 9 --audit-risk 0.1 --audit-lower --tune",
        "serve --method sequential --window 4 --top-p 0.9",  # requests may choose fpsr
        "bench --method fpsr --method fpsr-profile --profile p --threshold 0.5",
        "bench --task mmmu --source mmmu=x",
        "calibrate --by answers --window 4 --final-answer draft",
        "calibrate --gate draft-confidence --target-confidence 0.5",
        "simulate --replay b --method fpsr --json",
        "simulate --window 4 --resamples 1 --resample-acceptance 0.5",
        "simulate --models 2B/32B --gpu H100 --step-length 30 --replicas 2",
        "sapo --step-credit --counting soft",
        "from-traces --method dpo --beta 0.2",
    ],
)
def test_options_with_an_effect_give_no_warning(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    read(line)
    assert capsys.readouterr() == ("", "")


def test_a_variable_without_effect_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DREAMR_SCORE", "8")
    read("run")
    assert capsys.readouterr().err == (
        "warning: DREAMR_SCORE has no effect without --method specreason\n"
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("serve --tune --deterministic", "--tune follows measured times"),
        ("run --draft-confidence 0.9", "--draft-confidence needs --gate cascade"),
        ("run --draft-confidence 0.9 --gate cascade --profile p", "leave out --draft-confidence"),
        ("run --resamples 1 --deterministic", "leave out --resamples or --deterministic"),
        ("run --method token-sd --temperature 1", "token-sd is greedy"),
        ("calibrate --reference target", "--reference target needs --by answers"),
        ("calibrate --by answers --gate learned", "use --by steps"),
        ("simulate --sweep", "--sweep and --out belong together"),
        ("simulate --gpu H100", "--gpu needs --models"),
        ("simulate --replay b --models 2B/32B", "--replay cannot be combined"),
    ],
)
def test_a_contradiction_is_refused(line: str, says: str) -> None:
    with pytest.raises(BadOption, match=says):
        read(line)


@pytest.mark.parametrize(
    "options",
    [
        {"draft_confidence": 0.9},
        {"draft_confidence": 0.9, "gate": "cascade", "profile": "p"},
        {"resamples": 1, "deterministic": True},
        {"method": "token-sd", "temperature": 1.0},
    ],
)
def test_the_python_api_refuses_contradictions_too(options: dict[str, Any]) -> None:
    with pytest.raises(BadOption):
        RunOptions(**options)
