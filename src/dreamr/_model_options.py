"""Options that choose and open the models; several dataclasses of options share them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from dreamr._option_specs import OptionSpec
from dreamr.engines.protocol import Thinking as ThinkingMode

MODELS = "Models"

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
TargetModel: TypeAlias = Annotated[
    str | None,
    OptionSpec("Name of the target at its server.", MODELS, shown="its only model"),
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
Device: TypeAlias = Annotated[
    str, OptionSpec("Torch device of the target: auto, cpu or cuda:1, for example.", MODELS)
]
DraftDevice: TypeAlias = Annotated[
    str | None,
    OptionSpec("Torch device of the draft, such as cpu or cuda:1.", MODELS, shown="as the target"),
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
