"""Interrupted trainings of the recipe resume, and saved models load in transformers."""

import argparse
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("transformers")

from dreamr_testbed import PAIR
from dreamr_testbed.recipe import loop, source, train, weights
from dreamr_testbed.recipe.models import Size, load_model
from dreamr_testbed.recipe.plan import Recipe, Stage, read_recipes

from dreamr.errors import Unwritable
from dreamr.training import BadTraining

TINY = Size(4, 32, 96, heads=1, kv_heads=1, tower_layers=1, tower_width=32)
SEE = Stage("see", "see", steps=2, batch=4, rate=3e-3, layers=2)
REASON = Stage("reason", "reason", steps=2, batch=4, rate=3e-3, layers=2)
COMPARE = Stage("compare", "compare", steps=1, batch=4, rate=0.0, layers=3, frozen=1)
DEEPER = Stage(
    "judge", "reason", steps=3, batch=4, rate=3e-3, layers=4, frozen=1, decay=True, blend=0.5
)
RECIPE = Recipe(TINY, read_recipes()["target"].data_mix, (SEE, REASON, COMPARE, DEEPER))
OPTIONS = argparse.Namespace(seed=0, device="cpu", compile=False, blind=False)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    monkeypatch.setattr(source, "POOL", 2)
    monkeypatch.setattr(weights, "HELD_OUT", 4)
    monkeypatch.setattr(loop, "solved", lambda *_: {})  # evaluates 288 problems


def training(out, tokenizer):
    tokenizer.save_pretrained(out / "tokenizer")
    return train.Training(RECIPE, argparse.Namespace(**vars(OPTIONS), out=out))


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path, tokenizer, monkeypatch
):
    training(tmp_path / "whole", tokenizer).run()
    update, left = train.Training._update, [0]

    def update_or_stop(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        update(self, *arguments)

    monkeypatch.setattr(train.Training, "_update", update_or_stop)
    for steps in (1, 2, 2):
        left[0] = steps
        with pytest.raises(KeyboardInterrupt):
            training(tmp_path / "broken", tokenizer).run()
    left[0] = 100
    training(tmp_path / "broken", tokenizer).run()
    whole, broken = (
        load_file(tmp_path / name / "model/model.safetensors") for name in ("whole", "broken")
    )
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_a_model_started_from_a_saved_one_loads_the_same_weights(tmp_path, tokenizer):
    first = training(tmp_path / "first", tokenizer)
    first.export(tmp_path / "model")
    second = training(tmp_path / "second", tokenizer)
    second.begin_at("reason", tmp_path / "model")
    second.export(tmp_path / "again")
    before, after = (load_model(tmp_path / name).state_dict() for name in ("model", "again"))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--workers", "2", "--device", "cuda"], "--workers"),
        (["--workers", "2", "--threads", "2"], "--threads"),
        (["--workers", "13"], "at most 12, the smallest batch"),
        (["--workers", "0"], "at least 1, not 0"),
        (["--threads", "0"], "at least 1, not 0"),
        (["--seed", "-1"], "at least 0, not -1"),
        (["--device", "abacus"], "cannot use --device 'abacus'"),
        (["--stage", "sing"], "unknown --stage 'sing': choose from see, drill, read"),
    ],
)
def test_invalid_options_are_refused_in_one_line(tmp_path, capsys, arguments, what):
    with pytest.raises(SystemExit) as stopped:
        train.main(["target", "--out", str(tmp_path / "run"), *arguments])
    assert stopped.value.code == 2
    assert what in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def no_tensors(path):
    torch.save({"stage": 1}, path)


DAMAGED = {
    "a line that is cut": (
        "mistakes.jsonl",
        b'{"suite": "docmath", "ind',
        "line 1 is not a mistake",
    ),
    "a line of another kind": ("mistakes.jsonl", b"[1]\n", "line 1 is not a mistake"),
    "bytes in a pool": ("mistakes.jsonl", b"\xff\n", "line 1: not UTF-8 text"),
    "an empty checkpoint": ("checkpoint.pt", b"", "delete it to train from the start"),
    "text in a checkpoint": ("checkpoint.pt", b"checkpoint\n", "delete it to train from the start"),
    "another file of torch": ("checkpoint.pt", no_tensors, "is not a checkpoint"),
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("name", "content", "says"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_of_an_earlier_run_is_one_line(
    tmp_path, tokenizer, capsys, name, content, says, workers
):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        train.main(["target", "--out", str(tmp_path), "--workers", workers])
    shown = capsys.readouterr().err
    assert (stopped.value.code, shown.count("\n")) == (1, 1)
    assert says in shown
    assert str(path) in shown


def test_a_checkpoint_of_another_model_is_one_line(tmp_path, tokenizer, capsys):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    saved = {"stage": 0, "step": 0, "layers": 1, "model": {}, "state": {}}
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(SystemExit):
        train.main(["target", "--out", str(tmp_path)])
    assert "holds the weights of another model" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, tokenizer):
    run = training(tmp_path, tokenizer)
    run.save([])
    before = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.part").symlink_to("/dev/full")
    with pytest.raises(Unwritable, match=f"cannot write {tmp_path}/checkpoint.pt: .*free some"):
        run.save([])
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not (tmp_path / "checkpoint.part").is_symlink()
    (tmp_path / "curves.csv").symlink_to("/dev/full")
    with pytest.raises(Unwritable, match=f"cannot write {tmp_path}/curves.csv: No space left"):
        run._log(SEE, {"loss": 1.0})


def failed(capsys, *arguments):
    """Return the line with which a training that cannot start ends."""
    with pytest.raises(SystemExit) as stopped:
        train.main([*map(str, arguments)])
    assert stopped.value.code == 1
    return capsys.readouterr().err.splitlines()[-1]


def test_a_training_without_a_model_to_continue_with_is_one_line(tmp_path, capsys):
    out = tmp_path / "run"
    shown = failed(capsys, "draft", "--out", out, "--export", tmp_path / "model")
    assert f"{out} has no checkpoint to export" in shown
    shown = failed(capsys, "draft", "--out", out, "--stage", "several-images")
    assert "--stage several-images needs a model: name its folder with --start" in shown
    assert not out.exists()
    shown = failed(capsys, "draft", "--out", out, "--start", tmp_path / "model")
    assert f"{tmp_path / 'model'} is not a folder" in shown
    shown = failed(capsys, "draft", "--out", out, "--start", tmp_path)
    assert f"cannot load the model in {tmp_path}" in shown


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    shown = failed(capsys, "draft", "--out", tmp_path / "file" / "run")
    assert f"cannot write {tmp_path / 'file' / 'run'}" in shown


@pytest.mark.parametrize(
    ("role", "stage", "says"),
    [
        ("draft", "several-images", "has 2 layers of width 128, but stage several-images trains"),
        ("target", "drill", "has 12 layers of width 256, but stage drill trains up to 5"),
    ],
)
def test_a_model_that_a_stage_cannot_train_is_one_line(tmp_path, capsys, role, stage, says):
    arguments = ("--start", PAIR / role, "--stage", stage)
    assert says in failed(capsys, "target", "--out", tmp_path, *arguments)


def test_a_further_stage_is_only_resumed_by_its_name(tmp_path, capsys):
    stages = len(read_recipes()["draft"].stages)
    saved = {"stage": stages, "step": 50, "layers": 2, "model": {}, "state": {}}
    torch.save(saved, tmp_path / "checkpoint.pt")
    assert "name that with --stage again" in failed(capsys, "draft", "--out", tmp_path)


def test_a_stage_that_diverges_without_best_weights_is_one_line(tmp_path, tokenizer):
    steep = replace(REASON, steps=4, rate=1e6)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    recipe = replace(RECIPE, stages=(steep,))
    run = train.Training(recipe, argparse.Namespace(**vars(OPTIONS), out=tmp_path))
    with pytest.raises(BadTraining, match=r"stage reason diverged in step [2-4]: the last"):
        run.run()


def further(out, tokenizer, *later, **changes):
    """Return a training with more stages, which keep their best weights, from random weights."""
    stage = replace(REASON, name="more", steps=4, layers=4, best=2, **changes)
    stages = (stage, *later)
    recipe = replace(RECIPE, further=stages).with_further(stages[-1].name)
    tokenizer.save_pretrained(out / "tokenizer")
    started = train.Training(recipe, argparse.Namespace(**vars(OPTIONS), out=out))
    if not (out / "began").exists():
        torch.manual_seed(5)
        started._change(started._fresh(4))
        started.export(out / "began")
    started.begin_at("more", out / "began")
    return started


def figures(out, name):
    rows = [line.split(",") for line in (out / "curves.csv").read_text().splitlines()]
    return [float(value) for _, _, _, figure, value in rows[1:] if figure == name]


def stored(path):
    """Return the weights of a file as a finished training stores them."""
    return {name: weight.half().float() for name, weight in torch.load(path)["model"].items()}


def test_a_further_stage_keeps_the_weights_of_the_lowest_loss(tmp_path, tokenizer):
    run = further(tmp_path, tokenizer)
    run.run()
    losses = figures(tmp_path, "held_out")
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert torch.load(tmp_path / "best.pt")["loss"] == pytest.approx(min(losses), abs=1e-4)
    kept = stored(tmp_path / "best.pt")
    assert all(torch.equal(w, kept[name]) for name, w in run.model.state_dict().items())


def test_a_stage_that_does_not_diverge_ends_with_its_last_weights(tmp_path, tokenizer):
    run = further(tmp_path, tokenizer, rate=0.3)  # the loss falls and rises
    run.run()
    losses = figures(tmp_path, "held_out")
    assert losses[-1] > min(losses)
    kept = stored(tmp_path / "best.pt")
    assert any(not torch.equal(w, kept[name]) for name, w in run.model.state_dict().items())


@pytest.mark.parametrize(
    ("rate", "measured"),
    [
        pytest.param(1e2, 2, id="loss"),
        pytest.param(1e6, 1, id="gradients"),  # not finite before the loss is measured
    ],
)
def test_a_stage_that_diverges_stops_with_the_weights_that_it_began_with(
    tmp_path, tokenizer, capsys, rate, measured
):
    run = further(tmp_path, tokenizer, rate=rate)
    began = {name: weight.clone() for name, weight in run.model.state_dict().items()}
    run.run()
    assert len(figures(tmp_path, "held_out")) == measured
    assert "more diverged: its weights after step 0 are kept" in capsys.readouterr().out
    assert all(torch.equal(weight, began[name]) for name, weight in run.model.state_dict().items())


def test_a_stage_after_one_that_diverges_begins_without_its_gradients(tmp_path, tokenizer, capsys):
    last = replace(REASON, name="last", layers=4)
    run = further(tmp_path, tokenizer, last, rate=1e6)
    run.run()
    assert "more diverged" in capsys.readouterr().out
    assert run.stage == len(run.recipe.stages)


def test_a_stage_does_not_end_with_the_best_weights_of_an_earlier_training(tmp_path, tokenizer):
    run = further(tmp_path, tokenizer)
    zeros = {name: torch.zeros_like(weight) for name, weight in run.model.state_dict().items()}
    torch.save({"stage": "more", "loss": 0.0, "step": 9, "model": zeros}, tmp_path / "best.pt")
    run.run()
    assert torch.load(tmp_path / "best.pt")["loss"] > 0
    assert any(weight.any() for weight in run.model.state_dict().values())


def test_a_stage_that_starts_from_broken_weights_is_one_line(tmp_path, tokenizer):
    run = further(tmp_path, tokenizer)
    with torch.no_grad():
        run.model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(BadTraining, match="stage more cannot start: the loss of its model is not"):
        run.run()


def test_an_interrupted_stage_ends_with_the_same_weights(tmp_path, tokenizer, monkeypatch):
    whole = further(tmp_path / "whole", tokenizer)
    whole.run()
    update, left = train.Training._update, [3]

    def update_or_stop(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        update(self, *arguments)

    monkeypatch.setattr(train.Training, "_update", update_or_stop)
    with pytest.raises(KeyboardInterrupt):
        further(tmp_path / "broken", tokenizer).run()
    left[0] = 100
    broken = further(tmp_path / "broken", tokenizer)
    broken.run()
    assert all(
        torch.equal(weight, broken.model.state_dict()[name])
        for name, weight in whole.model.state_dict().items()
    )
