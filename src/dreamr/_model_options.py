"""Options that choose and open the models; several dataclasses of options share them.

Also those that say how the models' texts are read.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from dreamr._option_specs import BadOption, OptionSpec
from dreamr.engines.protocol import DType
from dreamr.engines.protocol import Thinking as ThinkingMode

MODELS = "Models"
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}

Thinking: TypeAlias = Annotated[
    ThinkingMode,
    OptionSpec(
        "Whether served models think: on, off, or auto (their default; Qwen: off for images).",
        MODELS,
    ),
]
Target: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Target model: folder, Hugging Face ID or server URL.",
        MODELS,
        shown="bundled model",
        reads="*",
    ),
]
Draft: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Draft model: folder, Hugging Face ID or server URL.",
        MODELS,
        shown="bundled model",
        reads="*",
    ),
]
TargetModel: TypeAlias = Annotated[
    str | None,
    OptionSpec("Name of the target at its server.", MODELS, shown="its only model"),
]
DraftModel: TypeAlias = Annotated[
    str | None,
    OptionSpec("Name of the draft at its server.", MODELS, shown="its only model"),
]
Revision: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Branch, tag or commit of the target on the Hugging Face hub.",
        MODELS,
        shown="default branch",
    ),
]
DraftRevision: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Branch, tag or commit of the draft on the Hugging Face hub.",
        MODELS,
        shown="default branch",
    ),
]
JudgePrompt: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        "Question to the target about a drafted step, answered by positive or negative.",
        MODELS,
        shown="from the model, or built in",
    ),
]
AnswerMarker: TypeAlias = Annotated[
    str | None,
    OptionSpec("Text in front of the final answer.", MODELS, shown="from the model, or Answer:"),
]
Delimiter: TypeAlias = Annotated[
    str | None,
    OptionSpec(
        r"Text that ends a step, with \n for a line break.",
        MODELS,
        shown="from the model, or a blank line",
    ),
]
MinStepTokens: TypeAlias = Annotated[
    int | None,
    OptionSpec(
        "Steps shorter than this, such as headings, are joined with the next one.",
        MODELS,
        1,
        shown="8 for models that may think, 32 for hybrid targets, else 1",
    ),
]
Untrained: TypeAlias = Annotated[
    bool,
    OptionSpec("Run local models on tasks and numbers of images they were not trained on.", MODELS),
]
ThinkingBudget: TypeAlias = Annotated[
    int | None,
    OptionSpec(
        "Tokens of thoughts before the answer; 0: none.",
        "Sampling and limits",
        0,
        shown="no limit",
    ),
]
Device: TypeAlias = Annotated[
    str, OptionSpec("Torch device of the target: auto, cpu or cuda:1, for example.", MODELS)
]
DraftDevice: TypeAlias = Annotated[
    str | None,
    OptionSpec("Torch device of the draft, such as cpu or cuda:1.", MODELS, shown="as the target"),
]
TargetDtype: TypeAlias = Annotated[
    DType,
    OptionSpec(
        "Data type of a local target: auto (the faster), float32 or bfloat16. On a CPU with "
        "--deterministic: float32.",
        MODELS,
    ),
]
DraftDtype: TypeAlias = Annotated[
    DType | None,
    OptionSpec("Data type of a local draft, as --dtype.", MODELS, shown="as the target"),
]
Threads: TypeAlias = Annotated[
    int, OptionSpec("CPU threads of each local model; all together at most the cores.", MODELS, 1)
]
MaxPixels: TypeAlias = Annotated[
    int,
    OptionSpec(
        "Pixels to which larger images are shrunk for models at servers; 0 keeps all.",
        MODELS,
        0,
    ),
]
DraftMaxPixels: TypeAlias = Annotated[
    int | None,
    OptionSpec(
        "Pixels to which larger images are shrunk for a draft at a server; 0 keeps all.",
        MODELS,
        0,
        shown="as the target",
    ),
]


def read_delimiter(text: str | None) -> str | None:
    r"""Return a delimiter with its escapes, such as \n, as the characters that they stand for.

    Raises:
        BadOption: If it is empty, or an escape is unknown.
    """
    if text == "":
        raise BadOption("--delimiter must not be empty")

    def character(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise BadOption(
                f"--delimiter: {escape[0]} is not known: use \\n, \\t, \\r, or \\\\ for a backslash"
            )
        return _ESCAPES[escape[1]]

    return None if text is None else _ESCAPE.sub(character, text)
