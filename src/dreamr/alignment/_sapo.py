"""A training by SAPO from its options to the trained draft (paper: arXiv 2605.28678)."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from anyio.from_thread import BlockingPortal, start_blocking_portal
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    PrinterCallback,
    ProcessorMixin,
    TrainerCallback,
)
from trl import GRPOConfig

from dreamr._provenance import provenance
from dreamr._reasoner import Model, OpenModel, local_model, open_local
from dreamr.alignment._errors import BadTraining
from dreamr.alignment._folder import Log, RunFolder
from dreamr.alignment._grader import Completion, Grader
from dreamr.alignment._options import SapoOptions
from dreamr.alignment._problems import Problems
from dreamr.alignment._rollout import Rollout
from dreamr.alignment._trainer import SapoTrainer
from dreamr.engines.local._detokenize import Texts
from dreamr.engines.local._load import one_line, quiet, resolve
from dreamr.engines.local._options import HINTS_FILE
from dreamr.gate import FixedGate
from dreamr.tasks import load

# What log.csv calls what TRL and our trainer call otherwise.
_COLUMNS = {
    "reward": "reward",
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
    "no_signal": "frac_reward_zero_std",
    "learning_rate": "learning_rate",
}


def train_sapo(
    options: SapoOptions,
    out: Path,
    *,
    open_model: OpenModel = open_local,
    on_step: Callable[[int, Mapping[str, float | None]], None] = lambda step, row: None,
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
    for name in (options.plugin or "").split(","):
        if name:
            importlib.import_module(name.strip())
    scheme = options.scheme()
    problems = Problems(
        {
            task: load(task, limit=options.problems, seed=options.seed, split="train")
            for task in options.tasks
        }
    )
    folder = RunFolder(out, options.to_json(), writes=_is_first_process())
    if folder.done:
        return folder.model
    draft = resolve(local_model("draft", options.run_options()))
    processor = _processor(draft)
    with _graders(options, open_model) as (portal, models):
        cutting = models[0].cutting
        grader = Grader(
            [model.engine for model in models],
            FixedGate(options.alpha),
            cutting,
            most_tokens=options.max_tokens,
        )

        def grade(completions: Sequence[Completion]) -> list[Rollout]:
            return portal.call(grader.grade, completions)

        tokenizer = getattr(processor, "tokenizer", processor)
        terms = [f"reward_{name}" for name in scheme.weights]
        log = Log(out, [*terms, *_COLUMNS, "seconds", "samples_per_second"])
        trainer = SapoTrainer(
            problems=problems,
            grade=grade,
            scheme=scheme,
            texts=Texts(tokenizer.backend_tokenizer, frozenset(tokenizer.all_special_ids)),
            cutting=cutting,
            step_credit=options.step_credit,
            model=draft,
            args=_grpo_config(options, folder),
            train_dataset=problems.dataset(
                options.steps * options.batch // options.group, options.seed
            ),
            processing_class=processor,
            peft_config=_lora(options.lora) if options.lora else None,
            callbacks=[_Rows(log, list(scheme.weights), options.batch, on_step)],
        )
        trainer.remove_callback(PrinterCallback)  # the rows say it better
        checkpoint = folder.last_checkpoint()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if trainer.accelerator.is_main_process:
            _save(trainer, Path(draft), folder, options)
    return folder.model


@contextmanager
def _graders(
    options: SapoOptions, open_model: OpenModel
) -> Iterator[tuple[BlockingPortal, list[Model]]]:
    """The target, several times over, on an event loop of its own."""
    models: list[Model] = []
    with start_blocking_portal(name="dreamr") as portal:
        try:
            for _ in range(options.graders):
                models.append(portal.call(open_model, "target", options.run_options()))
            yield portal, models
        finally:
            for model in models:
                portal.call(model.engine.aclose)


def _processor(folder: str) -> Any:
    """What turns conversations into tokens: with a chat template, or training is refused."""
    try:
        processors: Any = AutoProcessor
        processor = processors.from_pretrained(folder, padding_side="left")
        if not isinstance(processor, ProcessorMixin):
            tokenizers: Any = AutoTokenizer
            processor = tokenizers.from_pretrained(folder, padding_side="left")
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BadTraining(f"cannot load the draft in {folder}: {one_line(error)}") from error
    if not processor.chat_template:
        raise BadTraining(
            f"{folder} has no chat template: add a chat_template.jinja, or take an instruct model"
        )
    return processor


def _grpo_config(options: SapoOptions, folder: RunFolder) -> GRPOConfig:
    on_cpu = not torch.cuda.is_available()
    micro = min(options.micro_batch, options.batch)
    values: dict[str, Any] = {
        "output_dir": str(folder.checkpoints),
        "max_steps": options.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": max(1, options.batch // (micro * _processes())),
        "num_generations": options.group,
        "shuffle_dataset": False,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": min(10, options.steps // 10),
        "beta": options.kl,
        "temperature": options.temperature,
        "max_completion_length": options.max_tokens,
        "save_steps": options.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "seed": options.seed,
        "use_cpu": on_cpu,
        "bf16": not on_cpu,
        "gradient_checkpointing": not on_cpu,
        "report_to": [],
        "disable_tqdm": True,
        **_config_file(options.config),
    }
    try:
        return GRPOConfig(**values)
    except (TypeError, ValueError) as error:
        raise BadTraining(f"TRL refuses this configuration: {one_line(error)}") from error


def _config_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadTraining(f"cannot read {path}: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise BadTraining(f"{path} must hold fields of GRPOConfig, one a line")
    return values


def _lora(rank: int) -> Any:
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise BadTraining("--lora needs peft: pip install peft") from error
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")


def _save(trainer: SapoTrainer, start: Path, folder: RunFolder, options: SapoOptions) -> None:
    """The trained draft, whole: other files as they were, and how it came about.

    It is written beside its place and moved there last, so what has the name is complete.
    """
    part = folder.path / f".{folder.model.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if options.lora:
        model = model.merge_and_unload()
    model.save_pretrained(part)
    trainer.processing_class.save_pretrained(part)
    if (start / HINTS_FILE).exists():
        shutil.copy(start / HINTS_FILE, part)
    made = {"sapo": options.to_json(), "provenance": provenance()}
    (part / "training.json").write_text(json.dumps(made, indent=2) + "\n")
    part.rename(folder.model)


def _is_first_process() -> bool:
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def _processes() -> int:
    from accelerate import PartialState

    return int(PartialState().num_processes)


class _Rows(TrainerCallback):  # type: ignore[misc]
    """Writes log.csv, and tells whoever watches."""

    def __init__(
        self,
        log: Log,
        terms: Sequence[str],
        batch: int,
        on_step: Callable[[int, Mapping[str, float | None]], None],
    ) -> None:
        self._log, self._terms, self._batch, self._on_step = log, terms, batch, on_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._log.begin(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any
    ) -> None:
        if not state.is_world_process_zero or "reward" not in logs:
            return
        row: dict[str, float | None] = {
            f"reward_{name}": logs.get(f"rewards/{name}/mean") for name in self._terms
        }
        row |= {ours: logs.get(theirs) for ours, theirs in _COLUMNS.items()}
        seconds = logs.get("step_time")
        row["seconds"] = seconds
        row["samples_per_second"] = self._batch / seconds if seconds else None
        self._log.add(state.global_step, row)
        self._on_step(state.global_step, row)
