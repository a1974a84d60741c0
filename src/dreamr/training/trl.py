"""Setup shared by all trainings that use TRL's trainers."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
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

from dreamr._files import read_text
from dreamr._locks import FolderLock
from dreamr._messages import first_line
from dreamr._provenance import weights_hash
from dreamr.engines.local.load import SAFE, resolve, takes_images
from dreamr.engines.local.options import Hints
from dreamr.training.errors import BadTraining
from dreamr.training.folder import Log, RunFolder
from dreamr.training.saving import save_draft
from dreamr.training.weights import writing_weights

_EXPONENT = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")  # of a number without a dot, such as 1e-6

OnStep: TypeAlias = Callable[[int, Mapping[str, float | None]], None]


class Resumes:
    """Mixin for trainers of transformers that loads checkpoints with `from_pretrained`.

    A checkpoint that cannot be written is an error of one line.

    The names of weights in a checkpoint can differ from those in memory, for example in LLaVA
    models. The trainer of transformers (5.24) does not load such weights and only warns.
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

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        own: Any = self
        parent: Any = super()
        with writing_weights(Path(own.args.output_dir)):
            parent._save_checkpoint(model, trial)


def load_processor(folder: str) -> tuple[Any, bool]:
    """Load the processor of a model.

    Returns:
        The processor, or the tokenizer of a text-only model, and whether the model takes images.

    Raises:
        BadTraining: If it cannot be loaded, or has no chat template, fast tokenizer or end-of-turn
            token.
    """
    try:
        sees = takes_images(AutoConfig.from_pretrained(folder, **SAFE))
        kind: Any = AutoProcessor if sees else AutoTokenizer
        processor = kind.from_pretrained(folder, padding_side="left", **SAFE)
    except (OSError, ValueError, KeyError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise BadTraining(
                f"the draft in {folder} needs Python code of its own, which is never run: use a "
                "draft that transformers supports"
            ) from error
        raise BadTraining(f"cannot load the draft in {folder}: {first_line(error)}") from error
    if not processor.chat_template:
        raise BadTraining(
            f"{folder} has no chat template: add a chat_template.jinja or use an instruct model"
        )
    tokenizer = getattr(processor, "tokenizer", processor)
    if not tokenizer.is_fast:
        raise BadTraining(f"{folder} has no fast tokenizer: add a tokenizer.json")
    if tokenizer.eos_token is None:
        raise BadTraining(
            f"{folder} has no end-of-turn token: set eos_token in its tokenizer_config.json"
        )
    return processor, sees


def batching(batch: int, micro: int | None) -> dict[str, int]:
    """Convert batch sizes to the fields of a TRL configuration.

    Args:
        batch: Examples per optimizer step, over all processes.
        micro: Examples per backward pass of each process; None for all at once.

    Raises:
        BadTraining: If the batch cannot be split evenly.
    """
    each, left = divmod(batch, processes())
    micro = min(micro or each, each)
    if left or not micro or each % micro:
        raise BadTraining(
            f"a batch of {batch} cannot be split evenly (processes: {processes()}, micro-batch: "
            f"{micro}): change --batch or --micro-batch"
        )
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": each // micro,
    }


def trl_config(kind: type[Any], training: Training, values: Mapping[str, Any]) -> Any:
    """Build a TRL configuration.

    Defaults of all trainings are overridden by `values`, and these by the user's YAML file.

    Args:
        kind: Class of the configuration.
        training: The training.
        values: Fields set by the method and its options.

    Raises:
        BadTraining: If TRL rejects the configuration.
    """
    on_cpu = not torch.cuda.is_available()
    # A single process would otherwise spread the model over all GPUs, including the target's.
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
        raise BadTraining(
            f"TRL rejects this configuration: {first_line(error)}; change --config"
        ) from error
    config._n_gpu = min(1, config.n_gpu)  # disables torch's DataParallel
    return config


def config_file(path: str | None) -> dict[str, Any]:
    """Read fields of a TRL configuration from a YAML file; return {} for None.

    Raises:
        BadTraining: If the file cannot be read or does not hold a mapping of JSON values.
    """
    if path is None:
        return {}
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads 1e-6 as a number and dates as text, as in YAML 1.2."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, kind) for tag, kind in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))
    text = read_text(Path(path), "configuration", BadTraining, pipes=True)
    try:
        values = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise BadTraining(f"cannot read {path}: {first_line(error)}") from error
    if not isinstance(values, dict):
        raise BadTraining(f"{path} must hold fields of a TRL configuration as 'name: value' lines")
    try:
        json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadTraining(
            f"{path} must hold numbers, texts, lists and mappings only: {first_line(error)}"
        ) from error
    return values


def lora(rank: int) -> Any:
    """Return a LoRA configuration for all linear layers but the output layer; None for rank 0.

    Raises:
        BadTraining: If peft is not installed.
    """
    if not rank:
        return None
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise BadTraining("--lora needs peft: pip install 'dreamr[train]'") from error
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")


def processes() -> int:
    """Return the number of processes of this training."""
    return int(PartialState().num_processes)


def open_folder(path: Path, made: Mapping[str, Any]) -> RunFolder:
    """Open the folder of a training; the main process writes it before the others read it.

    Args:
        path: The folder.
        made: JSON values that identify the training.

    Raises:
        BadTraining: If the folder holds another training or other files.
        Unwritable: If the folder cannot be written.
    """
    state = PartialState()
    with state.main_process_first():
        return RunFolder(path, made, writes=bool(state.is_main_process))


class TrainingOptions(Protocol):
    """Interface of the options of all training methods."""

    @property
    def config(self) -> str | None:
        """YAML file with fields of a TRL configuration."""
        ...

    @property
    def draft_revision(self) -> str | None:
        """Revision of a draft on the Hugging Face hub."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that identify the training."""
        ...


@dataclass(frozen=True, slots=True)
class Training:
    """A prepared training.

    Attributes:
        draft: Folder of the draft to start from.
        folder: Folder of the training.
        made: JSON values that identify the training, as in config.json.
        given: Fields of a TRL configuration from the user's YAML file.
    """

    draft: str
    folder: RunFolder
    made: Mapping[str, Any]
    given: Mapping[str, Any]


@contextmanager
def prepared(
    options: TrainingOptions, out: Path, draft: str, sources: Mapping[str, Any]
) -> Iterator[Training]:
    """Prepare a training: find the draft, read the YAML file, lock and open the folder.

    Args:
        options: Options of the training.
        out: Folder of the training.
        draft: Folder or Hugging Face ID of the draft to start from.
        sources: Other inputs of the training, such as hashes, by their names in config.json.

    Raises:
        BadTraining: If the folder holds another training, another process trains in it, the
            YAML file cannot be used, or the training needs more memory than the GPU has.
        ModelNotFound: If there is no such draft.
        Unwritable: If the folder cannot be written.
    """
    draft = resolve(draft, options.draft_revision)
    given = config_file(options.config)
    made = {
        **options.to_json(),
        "draft_weights": weights_hash(Path(draft)),
        **sources,
        "config": given,
    }
    is_main = bool(PartialState().is_main_process)
    with FolderLock(out, BadTraining) if is_main else nullcontext():
        try:
            yield Training(draft, open_folder(out, made), made, given)
        except torch.OutOfMemoryError as error:
            lower = "--micro-batch or --max-tokens" if "max_tokens" in made else "--micro-batch"
            raise BadTraining(f"the GPU is out of memory: lower {lower}") from error


def train(
    trainer: Any,
    training: Training,
    method: str,
    learned: Callable[[], Mapping[str, Any]] = dict,
) -> Path:
    """Train to the end, resuming from the last complete checkpoint, and save the draft.

    Args:
        trainer: Trainer of TRL.
        training: The prepared training.
        method: Name of the method in the draft's training.json.
        learned: Returns, after the training, what to change in the hints of the draft.

    Returns:
        Folder of the trained draft.

    Raises:
        Unwritable: If a checkpoint or the draft cannot be written, for example on a full disk.
    """
    folder = training.folder
    trainer.remove_callback(PrinterCallback)  # log.csv and the progress display replace it
    checkpoint = folder.last_checkpoint()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.accelerator.is_main_process:
        save_draft(trainer, Path(training.draft), folder, {method: training.made}, learned())
    return folder.model


def learned_images(hints: Hints, most: int) -> dict[str, Any]:
    """Return what to change in the hints of a draft after a training.

    Args:
        hints: Hints of the draft before the training.
        most: Most images of a prompt of the training.
    """
    trained_for = hints.max_images
    return {} if trained_for is None or trained_for >= most else {"max_images": most}


def _is_finite(logs: Mapping[str, Any]) -> bool:
    """Check the loss and the norm of the gradients in a log of TRL."""
    return all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "grad_norm"))


class LogRows(TrainerCallback):  # type: ignore[misc]
    """Callback that writes log.csv and reports each step."""

    def __init__(
        self, folder: RunFolder, columns: Mapping[str, str], batch: int, on_step: OnStep
    ) -> None:
        """Log to a folder.

        Args:
            folder: Folder of the training.
            columns: Columns of log.csv, with their names in TRL's log.
            batch: Examples per step.
            on_step: Called after each step with its number and its row.
        """
        self._columns, self._batch, self._on_step = columns, batch, on_step
        self._log = Log(folder.path, [*columns, "seconds", "samples_per_second"])

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the log, or truncate it to the step from which the training resumes."""
        self._since = time.monotonic()
        if state.is_world_process_zero:
            self._log.begin(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any
    ) -> None:
        """Append a row to the log.

        Raises:
            BadTraining: If the training has diverged, before a checkpoint of it is saved.
        """
        # In float16, steps with infinite gradients are left out and the loss is scaled.
        if not args.fp16 and not _is_finite(logs):
            raise BadTraining(
                f"the training diverged in step {state.global_step}: lower --learning-rate and "
                "name another --out; earlier checkpoints are kept"
            )
        if not state.is_world_process_zero or "loss" not in logs:
            return
        row: dict[str, float | None] = {ours: logs.get(its) for ours, its in self._columns.items()}
        now = time.monotonic()
        row["seconds"], self._since = now - self._since, now
        row["samples_per_second"] = self._batch / row["seconds"] if row["seconds"] else None
        self._log.add(state.global_step, row)
        self._on_step(state.global_step, row)
