"""Saving of a trained draft with the files of the original one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from dreamr._files import read_bytes
from dreamr._output_files import replace_file
from dreamr._provenance import provenance
from dreamr.engines.local.load import SAFE
from dreamr.engines.local.options import HINTS_FILE
from dreamr.training.folder import RunFolder
from dreamr.training.weights import writing_weights

_OTHERS = (".json", ".jinja", ".txt", ".model")  # files of a model other than its weights


def save_draft(
    trainer: Any,
    start: Path,
    folder: RunFolder,
    made: Mapping[str, Any],
    learned: Mapping[str, Any],
) -> None:
    """Save the trained draft with the dtype and the other files of the original draft.

    It is written to a temporary folder and renamed last, so a folder named draft/ is complete.

    Args:
        trainer: Trainer of transformers.
        start: Folder of the original draft.
        folder: Folder of the training.
        made: What to write to training.json.
        learned: What to change in the hints of the draft.

    Raises:
        Unwritable: If it cannot be written, for example on a full disk.
    """
    with writing_weights(folder.model):
        part = folder.path / f".{folder.model.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        model = trainer.accelerator.unwrap_model(trainer.model)
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload()
        config = AutoConfig.from_pretrained(start, **SAFE)
        # Composite models can have the dtype in the configuration of their decoder only.
        dtype = config.dtype or config.get_text_config().dtype or model.dtype
        model.to(dtype).save_pretrained(part)
        for file in start.iterdir():  # training changes some settings, such as `use_cache`
            if file.suffix in _OTHERS and not file.name.endswith(".index.json"):
                shutil.copy(file, part)
        if learned:
            hints = {**json.loads(read_bytes(part / HINTS_FILE)), **learned}
            replace_file(part / HINTS_FILE, (json.dumps(hints, indent=2) + "\n").encode())
        text = json.dumps({**made, "provenance": provenance()}, indent=2)
        replace_file(part / "training.json", (text + "\n").encode())
        part.rename(folder.model)
