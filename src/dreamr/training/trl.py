"""What all trainings share around TRL's trainers."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from accelerate import PartialState
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)

from dreamr._provenance import provenance, weights_hash
from dreamr.engines.local.load import one_line, resolve, takes_images
from dreamr.training.errors import BadTraining
from dreamr.training.folder import Log, RunFolder

_OTHERS = (".json", ".jinja", ".txt", ".model")  # all of a model but its weights

OnStep: TypeAlias = Callable[[int, Mapping[str, float | None]], None]


class Resumes:
    """Mixed into a trainer of transformers: a checkpoint's weights are loaded as a model's are.

    The names in a file are not always those in the model; transformers (5.24) would leave such
    weights as they were, and only warn.
    """

    def _load_from_checkpoint(self, checkpoint: str, model: Any = None) -> None:
        own: Any = self
        model = model or own.model
        if own.is_fsdp_enabled or own.is_deepspeed_enabled or hasattr(model, "peft_config"):
            parent: Any = super()
            parent._load_from_checkpoint(checkpoint, model)
        else:
            saved = type(model).from_pretrained(checkpoint, dtype=model.dtype)
            model.load_state_dict(saved.state_dict())


def load_processor(folder: str) -> tuple[Any, bool]:
    """What turns conversations into tokens, and whether the model takes pictures.

    Raises:
        BadTraining: there is none, or it has no chat template.
    """
    try:
        sees = takes_images(AutoConfig.from_pretrained(folder))
        kind: Any = AutoProcessor if sees else AutoTokenizer
        processor = kind.from_pretrained(folder, padding_side="left")
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BadTraining(f"cannot load the draft in {folder}: {one_line(error)}") from error
    if not processor.chat_template:
        raise BadTraining(
            f"{folder} has no chat template: add a chat_template.jinja, or take an instruct model"
        )
    return processor, sees


def batching(batch: int, micro: int | None) -> dict[str, int]:
    """How TRL is told of a batch over all processes, and of what each takes at a time.

    Raises:
        BadTraining: the batch does not come out even.
    """
    each, left = divmod(batch, processes())
    micro = min(micro or each, each)
    if left or not micro or each % micro:
        raise BadTraining(
            f"a batch of {batch} does not come out even in {processes()} processes with "
            f"{micro} at a time: change batch or micro-batch"
        )
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": each // micro,
    }


def trl_config(kind: type[Any], training: Training, values: Mapping[str, Any]) -> Any:
    """A configuration of TRL: what suits all trainings, then `values`, then what the user gave.

    Raises:
        BadTraining: TRL refuses what comes of it.
    """
    on_cpu = not torch.cuda.is_available()
    # In a process of its own a model would else be spread over all devices, the target's too.
    placed = {} if on_cpu or processes() > 1 else {"device_map": {"": 0}}
    usual = {
        "output_dir": str(training.folder.checkpoints),
        "lr_scheduler_type": "linear",
        "save_total_limit": 2,
        "logging_steps": 1,
        "use_cpu": on_cpu,
        "bf16": not on_cpu,
        "gradient_checkpointing": not on_cpu,
        "report_to": [],
        "disable_tqdm": True,
    }
    try:
        loading = {**placed, **(training.given.get("model_init_kwargs") or {})}
        config = kind(**{**usual, **values, **training.given, "model_init_kwargs": loading})
    except (TypeError, ValueError) as error:
        raise BadTraining(f"TRL refuses this configuration: {one_line(error)}") from error
    config._n_gpu = min(1, config.n_gpu)  # never torch's DataParallel
    return config


def config_file(path: str | None) -> dict[str, Any]:
    """Fields of TRL's configuration out of a YAML file; none without a file.

    Raises:
        BadTraining: the file is not readable.
    """
    if path is None:
        return {}
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadTraining(f"cannot read {path}: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise BadTraining(f"{path} must hold fields of TRL's configuration, one a line")
    return values


def lora(rank: int) -> Any:
    """LoRA of this rank on all linear layers but the last; None for rank 0.

    Raises:
        BadTraining: peft is not installed.
    """
    if not rank:
        return None
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise BadTraining("--lora needs peft: pip install 'dreamr[train]'") from error
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")


def processes() -> int:
    """How many processes train together."""
    return int(PartialState().num_processes)


def open_folder(path: Path, made: Mapping[str, Any]) -> RunFolder:
    """The folder of a training; of several processes one writes, before the others look.

    Raises:
        BadTraining: see `RunFolder`.
    """
    state = PartialState()
    with state.main_process_first():
        return RunFolder(path, made, writes=bool(state.is_main_process))


class TrainingOptions(Protocol):
    """Options of any way to train."""

    @property
    def config(self) -> str | None:
        """A YAML file with fields of TRL's configuration."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain values that say which training this is."""
        ...


@dataclass(frozen=True, slots=True)
class Training:
    """A training that has its folder, and no trainer yet.

    draft: the folder of the draft before. made: how the draft comes about, as in config.json.
    given: fields of TRL's configuration that the user gave.
    """

    draft: str
    folder: RunFolder
    made: Mapping[str, Any]
    given: Mapping[str, Any]


def prepare(
    options: TrainingOptions, out: Path, draft: str, sources: Mapping[str, Any]
) -> Training:
    """Open the folder of a training.

    Args:
        options: of the training.
        out: its folder.
        draft: folder or Hugging Face id.
        sources: what else the training depends on, under its names in config.json.

    Raises:
        BadTraining: the folder holds another run, the draft cannot be had, a file is not readable.
    """
    draft = resolve(draft)
    given = config_file(options.config)
    made = {
        **options.to_json(),
        "draft_weights": weights_hash(Path(draft)),
        **sources,
        "config": given,
    }
    return Training(draft, open_folder(out, made), made, given)


def train(trainer: Any, training: Training, method: str) -> Path:
    """Train to the end, from the last whole checkpoint if there is one, and save the draft.

    Args:
        trainer: a trainer of TRL.
        training: what it is for.
        method: its name in the draft's training.json.

    Returns:
        The folder of the trained draft.
    """
    folder = training.folder
    trainer.remove_callback(PrinterCallback)  # the rows say it better
    checkpoint = folder.last_checkpoint()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.accelerator.is_main_process:
        _save(trainer, Path(training.draft), folder, {method: training.made})
    return folder.model


def _save(trainer: Any, start: Path, folder: RunFolder, made: Mapping[str, Any]) -> None:
    """The trained draft: new weights, as precise as the old ones, all else as it was.

    It is written beside its place and moved there last, so what has the name is complete.
    """
    part = folder.path / f".{folder.model.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    dtype = AutoConfig.from_pretrained(start).dtype or model.dtype
    model.to(dtype).save_pretrained(part)
    for file in start.iterdir():  # training leaves marks in these, as a cache that is off
        if file.suffix in _OTHERS and not file.name.endswith(".index.json"):
            shutil.copy(file, part)
    text = json.dumps({**made, "provenance": provenance()}, indent=2)
    (part / "training.json").write_text(text + "\n")
    part.rename(folder.model)


class LogRows(TrainerCallback):  # type: ignore[misc]
    """Writes log.csv, and tells whoever watches.

    columns: of log.csv, with the name that TRL's log has for each.
    """

    def __init__(
        self, folder: RunFolder, columns: Mapping[str, str], batch: int, on_step: OnStep
    ) -> None:
        self._columns, self._batch, self._on_step = columns, batch, on_step
        self._log = Log(folder.path, [*columns, "seconds", "samples_per_second"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._since = time.monotonic()
        if state.is_world_process_zero:
            self._log.begin(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any
    ) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        row: dict[str, float | None] = {ours: logs.get(its) for ours, its in self._columns.items()}
        now = time.monotonic()
        row["seconds"], self._since = now - self._since, now
        row["samples_per_second"] = self._batch / row["seconds"] if row["seconds"] else None
        self._log.add(state.global_step, row)
        self._on_step(state.global_step, row)
