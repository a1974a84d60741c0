"""A training by SAPO from its options to the trained draft (paper: arXiv 2605.28678)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from trl import GRPOConfig

from dreamr._provenance import weights_hash
from dreamr.engines import Model, OpenModel, open_model
from dreamr.engines.local.detokenize import Texts
from dreamr.engines.local.load import quiet, resolve
from dreamr.evaluation.tasks.options import task_names
from dreamr.gate import RatioGate
from dreamr.training.folder import RunFolder
from dreamr.training.grader import Completion, Grader
from dreamr.training.options import SapoOptions
from dreamr.training.problems import training_problems
from dreamr.training.rollout import Rollout
from dreamr.training.trainer import SapoTrainer
from dreamr.training.trl import (
    OnStep,
    Rows,
    batching,
    config_file,
    load_processor,
    lora,
    open_folder,
    train,
    trl_config,
)

# What log.csv calls what TRL and our trainer call otherwise.
_COLUMNS = {
    "reward": "worth",
    "acceptance": "acceptance",
    "accepted_tokens": "accepted_tokens",
    "clean": "clean",
    "right": "right",
    "finished": "finished",
    "tokens": "tokens",
    "steps": "steps",
    "longest": "longest",
    "kl": "kl",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "no_signal": "no_signal",
    "learning_rate": "learning_rate",
}


def train_sapo(
    options: SapoOptions,
    out: Path,
    *,
    open_model: OpenModel = open_model,
    on_step: OnStep = lambda step, row: None,
) -> Path:
    """Train a draft until its last step, from a checkpoint if there is one.

    Args:
        options: which models, which problems, what counts.
        out: the folder of this training.
        open_model: opens the target, once for each grader.
        on_step: called after each step with its number and the row of log.csv.

    Returns:
        The folder of the trained draft, which any command takes as `--draft`.

    Raises:
        BadTraining: the folder holds another run, a model cannot be trained, nothing to learn.
        BadReward: a term gives what is no number.
        TaskError: the problems.
        EngineError, Unsupported: the target is lost, or cannot grade.
    """
    quiet()
    problems = training_problems(
        task_names(options.task), options.problems, options.seed, options.plugin
    )
    scheme = options.scheme()
    draft = resolve(options.run_options().source("draft").location)
    given = config_file(options.config)
    made = {
        **options.to_json(),
        "draft_weights": weights_hash(Path(draft)),
        "target_weights": weights_hash(Path(options.run_options().source("target").location)),
        "config": given,
    }
    folder = open_folder(out, made)
    if folder.done:
        return folder.model
    processor, sees = load_processor(draft)
    with _graders(options, open_model) as (portal, models):
        step_format = models[0].step_format
        grader = Grader(
            [model.engine for model in models],
            RatioGate(options.threshold),
            step_format,
            most_tokens=options.max_tokens,
        )

        def grade(completions: Sequence[Completion]) -> list[Rollout]:
            return portal.call(grader.grade, completions)

        tokenizer = getattr(processor, "tokenizer", processor)
        columns = {f"reward_{name}": f"rewards/{name}/mean" for name in scheme.weights}
        trainer = SapoTrainer(
            problems=problems,
            grade=grade,
            scheme=scheme,
            texts=Texts(tokenizer.backend_tokenizer, frozenset(tokenizer.all_special_ids)),
            step_format=step_format,
            step_credit=options.step_credit,
            model=draft,
            args=_config(options, folder, given),
            train_dataset=problems.dataset(
                options.steps * options.batch // options.group, options.seed, sees=sees
            ),
            processing_class=processor,
            peft_config=lora(options.lora),
            callbacks=[Rows(folder, {**columns, **_COLUMNS}, options.batch, on_step)],
        )
        return train(trainer, Path(draft), folder, {"sapo": made})


@contextmanager
def _graders(
    options: SapoOptions, open_model: OpenModel
) -> Iterator[tuple[BlockingPortal, list[Model]]]:
    """The target, several times over, on an event loop of its own."""
    with start_blocking_portal(name="dreamr") as portal, ExitStack() as stack:
        models: list[Model] = []
        for _ in range(options.graders):
            models.append(portal.call(open_model, options.run_options().source("target")))
            stack.callback(portal.call, models[-1].engine.aclose)
        yield portal, models


def _config(options: SapoOptions, folder: RunFolder, given: Mapping[str, Any]) -> GRPOConfig:
    values = {
        **batching(options.batch, options.micro_batch),
        "max_steps": options.steps,
        "num_generations": options.group,
        "shuffle_dataset": False,
        "learning_rate": options.learning_rate,
        "warmup_steps": min(10, options.steps // 10),
        "beta": options.kl,
        # Divided by their spread, differences of a token would count like right and wrong.
        "scale_rewards": "none",
        "temperature": options.temperature,
        "max_completion_length": options.max_tokens,
        "save_steps": options.save_every,
        "seed": options.seed,
    }
    return trl_config(GRPOConfig, folder, values, given)
