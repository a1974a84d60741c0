"""Train a draft with SAPO (arXiv 2605.28678)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from trl import GRPOConfig

from dreamr._files import open_binary
from dreamr._provenance import weights_hash
from dreamr.engines import Model, OpenModel, open_model
from dreamr.engines.local.detokenize import Texts
from dreamr.engines.local.load import quiet
from dreamr.engines.local.options import Hints, read_hints
from dreamr.evaluation.tasks.options import task_names
from dreamr.evaluation.tasks.public import ENDINGS
from dreamr.gate import RatioGate
from dreamr.training.grader import Completion, Grader
from dreamr.training.options import SapoOptions
from dreamr.training.problems import Problems, training_problems
from dreamr.training.rewards import Scheme
from dreamr.training.rollout import Rollout
from dreamr.training.trainer import SapoTrainer
from dreamr.training.trl import (
    LogRows,
    OnStep,
    Training,
    batching,
    learned_images,
    load_processor,
    lora,
    prepared,
    train,
    trl_config,
)

# Columns of log.csv, with the names of these metrics in the trainer's log.
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
    "places": "places",
    "wrong_places": "wrong_places",
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
    """Train a draft with SAPO, resuming from the last checkpoint if there is one.

    Args:
        options: Models, problems, reward and hyperparameters.
        out: Folder of the training.
        open_model: Function that opens the target, called once per grader.
        on_step: Called after each step with its number and its row of log.csv.

    Returns:
        Folder of the trained draft, which any command accepts as `--draft`.

    Raises:
        BadTraining: If a task has no problems, the folder holds another training, the draft cannot
            be trained, or the rewards give no signal.
        BadReward: If a reward term is unknown or not finite.
        TaskError: If the problems cannot be loaded.
        EngineError: If the target fails.
        Unsupported: If the target cannot judge, or a problem has more images than a model was
            trained for and `options.untrained` is not set.
    """
    quiet()
    tasks = task_names(options.task)
    problems = training_problems(tasks, options.problems, options.seed, options.plugin)
    scheme = options.scheme()
    run_options = options.run_options()
    target = weights_hash(Path(run_options.source("target").location))
    sources = {"target_weights": target, **_task_files(tasks)}
    with prepared(options, out, run_options.source("draft").location, sources) as training:
        if training.folder.done:
            return training.folder.model
        processor, sees = load_processor(training.draft)
        hints = read_hints(Path(training.draft))
        limits = Hints() if options.untrained else hints
        order = _order(options, problems, options.steps)
        with _graders(options, open_model) as (portal, models):
            trainer = SapoTrainer(
                problems=problems,
                grade=_grade(options, portal, models, processor),
                scheme=scheme,
                texts=_texts(processor),
                step_format=models[0].step_format,
                step_credit=options.step_credit,
                model=training.draft,
                args=_config(options, training),
                train_dataset=problems.dataset(order, sees=sees, check=limits.check_images),
                processing_class=processor,
                peft_config=lora(options.lora),
                callbacks=[LogRows(training.folder, _columns(scheme), options.batch, on_step)],
            )
            learned = partial(_learned, options, hints, problems, trainer)
            return train(trainer, training, "sapo", learned)


def _task_files(tasks: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the hashes of the files among the tasks, for config.json; {} if there are none."""
    hashes = {}
    for task in tasks:
        if task.endswith(ENDINGS):
            with open_binary(Path(task)) as file:
                hashes[task] = file_digest(file, "sha256").hexdigest()[:16]
    return {"task_files": hashes} if hashes else {}


def _order(options: SapoOptions, problems: Problems, steps: int) -> list[int]:
    """Return the numbers of the problems of the first steps, in order."""
    return problems.order(steps * options.batch // options.group, options.seed)


def _grade(
    options: SapoOptions, portal: BlockingPortal, models: Sequence[Model], processor: Any
) -> Callable[[Sequence[Completion]], list[Rollout]]:
    """Return a blocking function that grades completions on the event loop of the targets."""
    tokenizer = getattr(processor, "tokenizer", processor)

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    grader = Grader(
        [model.engine for model in models],
        RatioGate(options.threshold),
        models[0].step_format,
        most_tokens=options.max_tokens,
        count=count,
    )

    def grade(completions: Sequence[Completion]) -> list[Rollout]:
        return portal.call(grader.grade, completions)

    return grade


def _texts(processor: Any) -> Texts:
    tokenizer = getattr(processor, "tokenizer", processor)
    return Texts(tokenizer.backend_tokenizer, frozenset(tokenizer.all_special_ids))


def _learned(
    options: SapoOptions, hints: Hints, problems: Problems, trainer: SapoTrainer
) -> dict[str, Any]:
    """Return the limits in a draft's hints that its training on these problems has moved."""
    found = {}
    if hints.max_images is not None:
        # A process that resumed the training, or is one of several, has loaded a part of them.
        trained = _order(options, problems, trainer.state.global_step)
        found = learned_images(hints, problems.most_images(trained))
    if hints.trained_tasks is not None:
        known = {task: list(levels) for task, levels in hints.trained_tasks.items()}
        given = problems.levels.items()
        more = {task: sorted({*known.get(task, ()), *levels}) for task, levels in given}
        if known != (now := {**known, **more}):
            found["trained_tasks"] = now
    return found


def _columns(scheme: Scheme) -> dict[str, str]:
    """Return the columns of log.csv, with their names in the trainer's log."""
    return {**{f"reward_{name}": f"rewards/{name}/mean" for name in scheme.weights}, **_COLUMNS}


@contextmanager
def _graders(
    options: SapoOptions, open_model: OpenModel
) -> Iterator[tuple[BlockingPortal, list[Model]]]:
    """Open the copies of the target on an event loop in a separate thread."""
    with start_blocking_portal(name="dreamr") as portal, ExitStack() as stack:
        models: list[Model] = []
        for _ in range(options.graders):
            models.append(portal.call(open_model, options.run_options().source("target")))
            stack.callback(portal.call, models[-1].engine.aclose)
        yield portal, models


def _config(options: SapoOptions, training: Training) -> GRPOConfig:
    values = {
        **batching(options.batch, options.micro_batch),
        "max_steps": options.steps,
        "num_generations": options.group,
        "shuffle_dataset": False,
        "learning_rate": options.learning_rate,
        "warmup_steps": min(10, options.steps // 10),
        "beta": options.kl,
        # Dividing by the group's deviation would make a difference of one token in length count
        # as much as a right answer.
        "scale_rewards": "none",
        "temperature": options.temperature,
        "max_completion_length": options.max_tokens,
        "save_steps": options.save_every,
        "seed": options.seed,
    }
    return trl_config(GRPOConfig, training, values)
