"""Training on records: cheaper than reinforcement, and possible on a user's own traffic.

'sft': the draft imitates whole committed texts, its own accepted steps and the target's (rejection
sampling: texts that are known to be wrong are left out). 'dpo': it learns to prefer the target's
step to its own that was refused after the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from dreamr._options import RunOptions
from dreamr.engines.local.load import quiet
from dreamr.training.errors import BadTraining
from dreamr.training.options import RecordsOptions
from dreamr.training.problems import row_of
from dreamr.training.records import Preference, Record, Records
from dreamr.training.trl import (
    LogRows,
    OnStep,
    Resumes,
    Training,
    batching,
    load_processor,
    lora,
    prepare,
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


class _Imitating(Resumes, SFTTrainer):  # type: ignore[misc]
    pass


class _Preferring(Resumes, DPOTrainer):  # type: ignore[misc]
    pass


def train_from_records(
    records: Records,
    options: RecordsOptions,
    out: Path,
    *,
    on_step: OnStep = lambda step, row: None,
) -> Path:
    """Train a draft on what runs have left.

    Args:
        records: of runs of any method; 'dpo' needs some with rejected steps.
        options: which draft, how to learn.
        out: the folder of this training.
        on_step: called after each step with its number and the row of log.csv.

    Returns:
        The folder of the trained draft.

    Raises:
        BadTraining: nothing to learn from, the folder holds another run, a model that cannot be
            trained.
    """
    quiet()
    disable_progress_bars()
    chosen = examples(records, options)
    draft = RunOptions(draft=options.draft).source("draft").location
    training = prepare(options, out, draft, {"records": records.digest})
    if training.folder.done:
        return training.folder.model
    processor, sees = load_processor(training.draft)
    if options.method == "dpo" and not sees:
        # TRL would end the turn behind every step, and teach that.
        raise BadTraining("dpo needs a draft that takes pictures so far: take --method sft")
    kind = {"sft": _Imitating, "dpo": _Preferring}[options.method]
    columns = {**_COLUMNS[options.method], **_ALWAYS}
    trainer: Any = kind(
        model=training.draft,
        args=_config(options, training),
        train_dataset=_dataset(records, chosen, processor, sees=sees),
        processing_class=processor,
        peft_config=lora(options.lora),
        callbacks=[LogRows(training.folder, columns, options.batch, on_step)],
    )
    return train(trainer, training, options.method)


def steps_of(examples: int, options: RecordsOptions) -> int:
    """How many optimizer steps a training on so many examples takes."""
    return -(-examples // options.batch) * options.epochs


def examples(
    records: Sequence[Record], options: RecordsOptions
) -> list[tuple[int, Preference | None]]:
    """What is learnt from: the number of a record, and the preference where that is learnt.

    Raises:
        BadTraining: there is nothing.
    """
    complete = [
        (number, record)
        for number, record in enumerate(records)
        if record.complete and record.right is not False
    ]
    found: list[tuple[int, Preference | None]]
    if options.method == "sft":
        found = [(number, None) for number, _ in complete]
        lacking = "no record of a complete run that is not known to be wrong"
    else:
        found = [(number, one) for number, each in complete for one in each.preferences()]
        lacking = "no step that was refused and written by the target instead"
    if not found:
        raise BadTraining(f"{len(records)} records hold {lacking}: record more runs")
    return found


def _dataset(
    records: Sequence[Record],
    examples: Sequence[tuple[int, Preference | None]],
    processor: Any,
    *,
    sees: bool,
) -> Dataset:
    """Prompts as text that the chat template has made, so that a step can follow a beginning."""
    tokenizer = getattr(processor, "tokenizer", processor)

    def row(number: int) -> dict[str, Any]:
        at, preferred = examples[number]
        record = records[at]
        base = row_of(record.conversation, sees=sees)
        prompt = processor.apply_chat_template(
            base["prompt"], add_generation_prompt=True, tokenize=False
        )
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

    if not sees:  # small, and a trainer of text alone wants to prepare it
        return Dataset.from_list([row(number) for number in range(len(examples))])
    return Dataset.from_dict({"number": list(range(len(examples)))}).with_transform(rows)


def _config(options: RecordsOptions, training: Training) -> Any:
    values = {
        **batching(options.batch, options.micro_batch),
        "num_train_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "warmup_steps": 0.03,  # of all
        "save_steps": options.save_every,
        "seed": options.seed,
        "max_length": None,
        "remove_unused_columns": False,
    }
    if options.method == "dpo":
        return trl_config(DPOConfig, training, {**values, "beta": options.beta})
    return trl_config(SFTConfig, training, values)
