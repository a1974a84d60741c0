"""Train a model of the bundled pair from random weights.

    python -m dreamr_testbed.recipe target --out runs/target

Runs the stages of `recipe.toml` in order, saves a checkpoint every 50 steps and logs curves to a
CSV file. Rerun the same command to resume. `--blind` trains on blank images, to measure what can
be answered from the text alone.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration

from dreamr.tooling import writing
from dreamr.training import BadTraining, writing_weights
from dreamr_testbed.command_line import at_least, errors_in_one_line
from dreamr_testbed.recipe import loop, mistakes
from dreamr_testbed.recipe.arguments import check_start, check_training
from dreamr_testbed.recipe.checkpoint import (
    CHECKPOINT,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from dreamr_testbed.recipe.comparer import compare
from dreamr_testbed.recipe.corpus import make_tokenizer
from dreamr_testbed.recipe.examples import ExampleMaker
from dreamr_testbed.recipe.fingerprint import fingerprint
from dreamr_testbed.recipe.hints import write_hints
from dreamr_testbed.recipe.models import (
    Size,
    build_model,
    build_processor,
    grow,
    load_model,
    load_tokenizer,
    rename_tower,
)
from dreamr_testbed.recipe.plan import Recipe, Stage, levels_of, read_recipes
from dreamr_testbed.recipe.source import SampleSource, batches, draw_problem
from dreamr_testbed.recipe.team import ALONE, Team, run_team
from dreamr_testbed.recipe.weights import BestWeights, blend

EVALUATE_EVERY = 250  # steps between two evaluations on test problems
SAVE_EVERY = 50  # steps between two checkpoints
POOL = "mistakes.jsonl"


class Diverged(BadTraining):
    """Gradients that are not finite, so that no step can follow."""


class Training:
    """Training of one model through the stages of its recipe, with its checkpoints."""

    def __init__(self, recipe: Recipe, options: argparse.Namespace, team: Team = ALONE) -> None:
        """Start a training or load its checkpoint; `options.out` must have a folder `tokenizer`."""
        out = options.out
        self.recipe, self.out, self.seed, self.team = recipe, out, options.seed, team
        self.device = torch.device(options.device)
        self.compiled, self.blind = options.compile, options.blind
        torch.manual_seed(options.seed)
        self.tokenizer = load_tokenizer(out / "tokenizer")
        self.pad = int(self.tokenizer.pad_token_id)
        self.maker = ExampleMaker(self.tokenizer)
        self.mistakes = mistakes.read(out / POOL)
        self.stage, self.step = 0, 0
        self.model = self._fresh(recipe.stages[0].layers)
        self.state: dict[str, Any] = {}
        self._load()

    def _fresh(self, layers: int) -> LlavaForConditionalGeneration:
        model = build_model(self._at_depth(layers), self.tokenizer)
        return model.to(self.device)

    def _at_depth(self, layers: int) -> Size:
        return replace(self.recipe.size, layers=layers)

    def _load(self) -> None:
        path = self.out / CHECKPOINT
        saved = read_checkpoint(path, self.device)
        if saved is None:
            return
        self.stage, self.step = saved["stage"], saved["step"]
        layers = saved["layers"]
        if layers != self.model.config.text_config.num_hidden_layers:
            self.model = self._fresh(layers)
        load_weights(self.model, saved, path)
        self.state = saved["state"]

    def begin_at(self, stage: str, folder: Path) -> None:
        """Start at a stage from a saved model, unless there is a checkpoint.

        Args:
            stage: Name of the stage.
            folder: Folder of the saved model.

        Raises:
            BadTraining: If the model is not one that the stage can train.
            ModelNotFound: If there is no model.
        """
        if (self.out / CHECKPOINT).exists():
            return
        self.stage = [known.name for known in self.recipe.stages].index(stage)
        model = load_model(folder)
        text, size = model.config.text_config, self.recipe.size
        most = self.recipe.stages[self.stage].layers
        if text.hidden_size != size.width or text.num_hidden_layers > most:
            raise BadTraining(
                f"{folder} has {text.num_hidden_layers} layers of width {text.hidden_size}, but "
                f"stage {stage} trains up to {most} of width {size.width}: name another --start "
                "or --stage"
            )
        self.model = model.to(self.device)

    def save(self, optimizers: list[torch.optim.Optimizer], extra: Any = None) -> None:
        """Write a checkpoint atomically; `extra` is the state of the head of the stage."""
        if not self.team.leads:
            return
        state = {"optimizers": [o.state_dict() for o in optimizers], "extra": extra}
        saved = {
            "stage": self.stage,
            "step": self.step,
            "layers": self.model.config.text_config.num_hidden_layers,
            "model": self.model.state_dict(),
            "state": state if optimizers else {},
        }
        write_checkpoint(self.out / CHECKPOINT, saved)

    def run(self) -> None:
        """Run the remaining stages and export the model."""
        stages = self.recipe.stages
        while self.stage < len(stages):
            stage = stages[self.stage]
            torch.manual_seed(1000 * self.seed + self.stage)  # independent of earlier stages
            size = self._at_depth(stage.layers)
            if stage.kind == "compare":
                self._change(self._compare(stage, size))
            elif stage.layers != self.model.config.text_config.num_hidden_layers:
                self._change(grow(self.model, size, self.tokenizer))
            if stage.kind == "see" and not self.blind:
                self._see(stage)
            elif stage.kind in ("drill", "reason"):
                self._reason(stage)
            self.stage, self.step, self.state = self.stage + 1, 0, {}
            self.save([])
        if self.team.leads:
            with writing_weights(self.out / "model"):
                self.export(self.out / "model")

    def _change(self, model: LlavaForConditionalGeneration) -> None:
        """Replace the model."""
        self.model = model.to(self.device)

    def _compare(self, stage: Stage, size: Size) -> LlavaForConditionalGeneration:
        rng = Random(f"{stage.name}/{self.seed}")
        mix = replace(self.recipe.data_mix, branches=1, slips=60)
        problems = (
            draw_problem(rng, stage.easy, stage.shares, stage.levels)
            for _ in range(stage.steps * stage.batch)
        )
        examples = [self.maker.solution(problem, mix, rng) for problem in problems]
        grown = compare(self.model.cpu(), size, self.maker, examples, stage.frozen)
        self.team.agree(grown.parameters())
        return grown

    def _see(self, stage: Stage) -> None:
        width = self.model.config.text_config.hidden_size
        patch_head = loop.PatchHead(width, loop.patch_words()).to(self.device)
        extra = list(patch_head.parameters())
        optimizers = loop.optimizers(self.model, extra, stage, self.team)
        self._restore(optimizers, patch_head)
        for step in range(self.step, stage.steps):
            rng = Random(f"see/{self.seed}/{step}")
            problems = [draw_problem(rng, 1 / 3) for _ in range(stage.batch)]
            loss, parts = loop.patch_loss(self.model, patch_head, self.team.part(problems))
            fall = min(1.0, 2.0 * (1.0 - step / stage.steps))
            self._update(optimizers, loss, loop.rate_at(stage, step) * fall)
            if step % 50 == 0:
                self._log(stage, parts)
            self.step = step + 1
            if self.step % SAVE_EVERY == 0:
                self.save(optimizers, patch_head.state_dict())

    def _reason(self, stage: Stage) -> None:
        began = self.out / "began.pt"
        if stage.blend < 1.0 and self.step == 0 and self.team.leads:
            write_checkpoint(began, self.model.state_dict())
        self._train(stage)
        if stage.blend < 1.0:
            saved = torch.load(began, map_location=self.device, weights_only=True)
            blend(self.model, saved, stage.blend)

    def _train(self, stage: Stage) -> None:
        error_head = loop.ErrorHead(self.model.config.text_config.hidden_size).to(self.device)
        extra = list(error_head.parameters())
        loop.freeze(self.model, stage.frozen)
        optimizers = loop.optimizers(self.model, extra, stage, self.team)
        self._restore(optimizers, error_head)
        if self.compiled:
            for layer in self.model.model.language_model.layers:
                layer.compile(dynamic=True)  # one by one, so that all share the compiled code
        mix = stage.data_mix(self.recipe.data_mix)
        source = SampleSource(self.maker, mix, self.mistakes)
        stream = batches(source, stage, self.seed, self.step, self.pad, self.team)
        best = self._best(source, stage) if stage.best else None
        seen, started = 0, time.monotonic()
        for step in range(self.step, stage.steps):
            batch = {k: v.to(self.device) for k, v in next(stream).items()}
            if self.blind:
                batch["pixels"].zero_()
            loss, parts = loop.reasoning_loss(self.model, batch, error_head)
            try:
                self._update(optimizers, loss, loop.rate_at(stage, step))
            except Diverged:
                if best is None:
                    raise
                break
            self.step = step + 1
            seen += batch["ids"].numel() * self.team.size
            if self.step % 10 == 0:
                parts["tokens_a_second"] = seen / (time.monotonic() - started)
                seen, started = 0, time.monotonic()
                self._log(stage, parts)
            ends = self.step == stage.steps
            if best and (ends or self.step % stage.best == 0) and self._diverged(best, stage):
                break
            if ends or self.step % SAVE_EVERY == 0:
                self.save(optimizers, error_head.state_dict())
            if ends or self.step % EVALUATE_EVERY == 0:
                self._evaluate(stage)
                started = time.monotonic()
        else:
            # The loss of a few examples does not rank weights that are nearly as good: it rose in
            # a stage after which the model solved more problems.
            best = None
        loop.freeze(self.model, 0)
        if best:
            print(f"{stage.name} diverged: its weights after step {best.step} are kept", flush=True)
            if self.team.leads:
                best.restore(self.model)
            self.team.agree(self.model.parameters())

    def _best(self, source: SampleSource, stage: Stage) -> BestWeights:
        best = BestWeights.of(
            self.out, source, stage, self.pad, writes=self.team.leads, resumes=self.step > 0
        )
        if math.isinf(best.loss):  # keep the weights that the stage begins with
            self._log(stage, best.measure(self.model, self.step))
        if math.isinf(best.loss):
            raise BadTraining(
                f"stage {stage.name} cannot start: the loss of its model is not finite; name "
                "another --start"
            )
        return best

    def _diverged(self, best: BestWeights, stage: Stage) -> bool:
        """Measure the loss on held-out examples; return whether the stage must stop."""
        losses = best.measure(self.model, self.step)
        self._log(stage, losses)
        return best.diverged(losses["held_out"])

    def _evaluate(self, stage: Stage) -> None:
        if self.team.leads:
            levels = {suite: levels_of(suite, stage.levels) for suite in stage.shares}
            count = 96 if stage.single_images else 32
            mix = self.recipe.data_mix
            self._log(stage, loop.solved(self.model, self.maker, mix, self.pad, levels, count))

    def _restore(self, optimizers: list[torch.optim.Optimizer], head: torch.nn.Module) -> None:
        for optimizer, state in zip(optimizers, self.state.get("optimizers", []), strict=False):
            shares = [group["share"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state)
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["share"] = share  # from the recipe, which may be newer than the checkpoint
        if self.state.get("extra"):
            head.load_state_dict(self.state["extra"])

    def _update(
        self, optimizers: list[torch.optim.Optimizer], loss: torch.Tensor, rate: float
    ) -> None:
        loss.backward()
        self.team.average_gradients(
            p for optimizer in optimizers for group in optimizer.param_groups
            for p in group["params"]
        )  # fmt: skip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if not norm.isfinite():  # the same in all processes, whose gradients are averaged
            self.model.zero_grad()  # else the next stage begins with these gradients
            stage = self.recipe.stages[self.stage].name
            raise Diverged(
                f"stage {stage} diverged in step {self.step + 1}: the last checkpoint is kept; "
                "lower the rate of the stage in recipe.toml"
            )
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            optimizer.step()
            optimizer.zero_grad()

    def _log(self, stage: Stage, parts: dict[str, float]) -> None:
        if not self.team.leads:
            return
        path = self.out / "curves.csv"
        fresh = not path.exists()
        with writing(path), path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["stage", "step", "time", "figure", "value"])
            for figure, value in parts.items():
                writer.writerow(
                    [stage.name, self.step, f"{time.time():.0f}", figure, f"{value:.4f}"]
                )
        figures = "  ".join(f"{k} {v:.3f}" for k, v in parts.items())
        print(f"{stage.name} {self.step}/{stage.steps}  {figures}", flush=True)

    def export(self, path: Path) -> None:
        """Save the model as a Hugging Face folder in float16, with the recipe's hash."""
        self.model.config.dreamr_recipe = fingerprint(self.recipe)
        self.model.half().save_pretrained(path)
        self.model.float()
        rename_tower(path / "model.safetensors")
        build_processor(self.tokenizer).save_pretrained(path)
        write_hints(path, self.recipe.stages)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    recipes = read_recipes()
    parser = argparse.ArgumentParser(
        prog="python -m dreamr_testbed.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=sorted(recipes), help="Model to train.")
    add("--out", type=Path, required=True, help="Folder of the training.")
    add("--device", default="cpu", help="Torch device. Default: %(default)s.")
    add(
        "--seed",
        type=at_least(0),
        default=0,
        help="Seed of weights and examples. Default: %(default)s.",
    )
    add(
        "--threads",
        type=at_least(1),
        default=1,
        help="Threads of one process. Default: %(default)s.",
    )
    workers = "Processes that share each batch on CPU cores. Default: %(default)s."
    add("--workers", type=at_least(1), default=1, help=workers)
    add("--start", type=Path, help="Folder of a saved model to start from, at --stage.")
    stage = "First stage with --start; may be a further one. Default: the first of the recipe."
    add("--stage", help=stage)
    add("--export", type=Path, help="Only save the last checkpoint as a model in this folder.")
    add("--blind", action="store_true", help="Train on blank images.")
    add("--compile", action="store_true", help="Compile the decoder; needs a C++ compiler.")
    options = parser.parse_args(arguments)
    recipe = recipes[options.name].with_further(options.stage)
    check_training(parser, options, recipe)
    torch.set_num_threads(options.threads)
    with errors_in_one_line(parser, "run the same command again to resume"):
        # Read here too, before several processes fail on them.
        mistakes.read(options.out / POOL)
        check_start(
            options, recipe, read_checkpoint(options.out / CHECKPOINT, torch.device("meta"))
        )
        with writing(options.out, "name another --out"):
            options.out.mkdir(parents=True, exist_ok=True)
        make_tokenizer(options.out / "tokenizer", options.start)
        run_team(options.workers, partial(_train, recipe, options))


def _train(recipe: Recipe, options: argparse.Namespace, team: Team) -> None:
    training = Training(recipe, options, team)
    if options.start:
        training.begin_at(options.stage or recipe.stages[0].name, options.start)
    if options.export:
        with writing_weights(options.export, "name another --export"):
            training.export(options.export)
    else:
        training.run()
