"""Train a draft on records of runs, which is cheaper than reinforcement learning.

'sft' is supervised fine-tuning on whole committed texts, without those known to be wrong
(rejection sampling). 'dpo' is direct preference optimization: the target's step is preferred to
the draft's step that was rejected after the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, disable_progress_bars
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from dreamr._options import RunOptions
from dreamr.conversation import flatten
from dreamr.engines.local.load import quiet
from dreamr.engines.local.options import Hints, read_hints
from dreamr.training.errors import BadTraining
from dreamr.training.options import RecordsOptions
from dreamr.training.problems import check_parts, row_of
from dreamr.training.records import Preference, Record, Records
from dreamr.training.trl import (
    LogRows,
    OnStep,
    Resumes,
    Training,
    batching,
    learned_images,
    load_processor,
    lora,
    prepared,
    train,
    trl_config,
)

_COLUMNS = {
    "sft": {"loss": "loss", "token_accuracy": "mean_token_accuracy", "entropy": "entropy"},
    "dpo": {
        "loss": "loss",
        "preferred": "rewards/accuracies",
        "margin": "rewards/margins",
        "chosen": "logps/chosen",
        "rejected": "logps/rejected",
    },
}
_ALWAYS = {"grad_norm": "grad_norm", "learning_rate": "learning_rate"}


class Example(NamedTuple):
    """An example of a training.

    Attributes:
        number: Index of its record.
        preference: For 'dpo' a rejected step and the one that replaced it; None for 'sft'.
        images: Number of images of its prompt, with pages and frames.
    """

    number: int
    preference: Preference | None
    images: int


class _SftTrainer(Resumes, SFTTrainer):  # type: ignore[misc]
    pass


class _DpoTrainer(Resumes, DPOTrainer):  # type: ignore[misc]
    pass


def train_from_records(
    records: Records,
    options: RecordsOptions,
    out: Path,
    *,
    on_step: OnStep = lambda step, row: None,
) -> Path:
    """Train a draft on records, resuming from the last checkpoint if there is one.

    Args:
        records: Records of runs of any method; 'dpo' needs some with rejected steps.
        options: Draft, method and hyperparameters.
        out: Folder of the training.
        on_step: Called after each step with its number and its row of log.csv.

    Returns:
        Folder of the trained draft, which any command accepts as `--draft`.

    Raises:
        BadTraining: If the records have no example, the folder holds another training, the draft
            cannot be trained, or a record has more images than it was trained for and
            `options.untrained` is not set.
    """
    quiet()
    disable_progress_bars()
    chosen = examples(records, options)
    draft = RunOptions(draft=options.draft).source("draft").location
    with prepared(options, out, draft, {"records": records.digest}) as training:
        if training.folder.done:
            return training.folder.model
        processor, sees = load_processor(training.draft)
        hints = read_hints(Path(training.draft))
        largest = max(chosen, key=lambda example: example.images)
        _check_parts(records[largest.number], sees=sees)
        if not options.untrained:
            _check_images(hints, largest, records)
        if options.method == "dpo" and not sees:
            # For text-only models, TRL appends an end-of-turn token to each step, so the draft
            # would learn to stop after one step.
            raise BadTraining("--method dpo needs a draft that takes images: use --method sft")
        kind = {"sft": _SftTrainer, "dpo": _DpoTrainer}[options.method]
        columns = {**_COLUMNS[options.method], **_ALWAYS}
        trainer: Any = kind(
            model=training.draft,
            args=_config(options, training),
            train_dataset=_dataset(records, chosen, processor, sees=sees),
            processing_class=processor,
            peft_config=lora(options.lora),
            callbacks=[LogRows(training.folder, columns, options.batch, on_step)],
        )
        learned = learned_images(hints, largest.images)
        return train(trainer, training, options.method, lambda: learned)


def steps_of(examples: int, options: RecordsOptions) -> int:
    """Return the number of optimizer steps of a training on a number of examples."""
    return -(-examples // options.batch) * options.epochs


def examples(records: Sequence[Record], options: RecordsOptions) -> list[Example]:
    """Select the examples of a training: complete runs that are not known to be wrong.

    Returns:
        For 'sft' one of each record; for 'dpo' one of each rejected step that the target replaced.

    Raises:
        BadTraining: If there is no example, or one has parts that no draft takes in training.
    """
    found: list[Example] = []
    sft = options.method == "sft"
    for number, record in enumerate(records):
        if not record.complete or record.right is False:
            continue
        images = len(flatten(record.prompt).images)
        own = [Example(number, one, images) for one in ((None,) if sft else record.preferences())]
        if own:
            _check_parts(record)
        found += own
    if not found:
        needed = (
            "a complete run without a wrong answer"
            if sft
            else "a rejected step that the target replaced"
        )
        raise BadTraining(f"none of {len(records)} records holds {needed}: record more runs")
    return found


def _check_parts(record: Record, *, sees: bool = True) -> None:
    try:
        check_parts(record.prompt, sees=sees)
    except BadTraining as error:
        raise BadTraining(f"record {record.name}: {error}") from error


def _check_images(hints: Hints, largest: Example, records: Sequence[Record]) -> None:
    most = hints.max_images
    if most is not None and largest.images > most:
        raise BadTraining(
            f"record {records[largest.number].name} has {largest.images} images, but the draft was "
            f"trained for {most}: leave it out, choose another draft, or set --untrained"
        )


def _dataset(
    records: Sequence[Record],
    examples: Sequence[Example],
    processor: Any,
    *,
    sees: bool,
) -> Dataset:
    """Return a dataset whose prompts are rendered by the chat template.

    As text, a prompt can end with the beginning of an answer, which DPO needs.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    # TRL tokenizes the text of text-only models as a whole text, before which some tokenizers put a
    # token that their chat templates begin with too.
    begins = not sees and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    added = tokenizer.bos_token if begins else ""

    def row(number: int) -> dict[str, Any]:
        at, preferred, _ = examples[number]
        record = records[at]
        base = row_of(record.prompt, sees=sees)
        prompt = processor.apply_chat_template(
            base["prompt"], add_generation_prompt=True, tokenize=False
        ).removeprefix(added)
        if preferred is None:
            return {**base, "prompt": prompt, "completion": record.text + tokenizer.eos_token}
        return {
            **base,
            "prompt": prompt + preferred.prefix,
            "chosen": preferred.chosen,
            "rejected": preferred.rejected,
        }

    def rows(columns: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        made = [row(number) for number in columns["number"]]
        return {name: [one[name] for one in made] for name in made[0]}

    if not sees:  # text needs little memory, and text-only trainers preprocess the whole dataset
        return Dataset.from_list([row(number) for number in range(len(examples))])
    return Dataset.from_dict({"number": list(range(len(examples)))}).with_transform(rows)


def _config(options: RecordsOptions, training: Training) -> Any:
    values = {
        **batching(options.batch, options.micro_batch),
        "num_train_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "warmup_steps": 0.03,  # share of all steps
        "save_steps": options.save_every,
        "seed": options.seed,
        "max_length": None,
        "remove_unused_columns": False,
    }
    if options.method == "dpo":
        return trl_config(DPOConfig, training, {**values, "beta": options.beta})
    return trl_config(SFTConfig, training, values)
