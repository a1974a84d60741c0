"""What a gate and a problem need of the engines, checked before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dreamr.conversation import Conversation
from dreamr.engines import Engine
from dreamr.engines.protocol import AnswersInForm, Capabilities, Preparable
from dreamr.errors import EngineLost, Unsupported
from dreamr.gate import GATES, Need, gate_name
from dreamr.runner.config import RunConfig
from dreamr.schedules import method
from dreamr.steps import Role


@dataclass(frozen=True, slots=True)
class _Requirement:
    """How a need of a gate is checked.

    Attributes:
        role: Role of the model that must meet it.
        capability: Name of the capability.
        advice: What to do instead.
    """

    role: Role
    capability: str
    advice: str


_OTHER_DRAFT = "use --gate ratio, or another draft"
_REQUIREMENTS: Mapping[Need, _Requirement] = {
    "probabilities of the verdict's labels": _Requirement(
        "target",
        "judge",
        "use --gate word, which reads the word of the verdict (weaker evidence), or --method "
        "target",
    ),
    "verdicts in words": _Requirement("target", "words", "use --gate ratio, or --method target"),
    "probabilities of given tokens": _Requirement(
        "target", "margins", "use --gate ratio, or serve the target with vLLM"
    ),
    "the draft's log-probabilities": _Requirement("draft", "logprobs", _OTHER_DRAFT),
    "the draft's entropy": _Requirement("draft", "entropy", _OTHER_DRAFT),
    "the draft's verdicts": _Requirement("draft", "judge", _OTHER_DRAFT),
}


def check_engines(config: RunConfig, engines: Mapping[Role, Engine]) -> None:
    """Check that the engines can do what the gate and the options of a run need.

    Raises:
        Unsupported: If one cannot. The message names the gate or option, the model and its server.
    """
    _check_judge_batch(config, engines)
    used = config.gate.needs if method(config.method).judges else frozenset[Need]()
    for need in sorted(used):
        wanted = _REQUIREMENTS[need]
        engine = engines[wanted.role]
        found = engine.capabilities
        if not getattr(found, wanted.capability):
            what = need.removeprefix("the draft's ")
            raise Unsupported(
                f"{_subject(config)} needs {what}, which the {wanted.role} {engine.name} "
                f"{_kind(found)}does not report{_why(found, wanted)}: {_advice(config, wanted)}"
            )


def check_conversations(seen: Mapping[Role, Conversation], engines: Mapping[Role, Engine]) -> None:
    """Check that the model that answers reads all images of a problem, and both its video files.

    A draft that does not is lost in the run, which the trace records; the target goes on alone.

    Args:
        seen: The problem as the model of each role gets it.
        engines: Engines by role.

    Raises:
        Unsupported: If the problem has more images than the model reads, or a model that gets a
            video file does not take it.
    """
    for name, one in engines.items():
        able = one.capabilities
        if seen[name].video_files and able.watches is False:
            other = "use --native-video target, or " if len(engines) > 1 and name == "draft" else ""
            raise Unsupported(
                f"the {name} {one.name} takes no video files ({able.watching_problem}): {other}"
                "leave out --native-video"
            )
    role: Role = "target" if "target" in engines else "draft"
    engine = engines[role]
    known = engine.capabilities.max_images or engine.capabilities.hears is False
    if known and (found := unreadable(seen[role], engine.capabilities)):
        raise Unsupported(f"the {role} {engine.name} cannot answer this problem: {found}")


def check_answer_form(
    config: RunConfig, seen: Mapping[Role, Conversation], engines: Mapping[Role, Engine]
) -> None:
    """Check that the target can write the answer in the form that is demanded.

    Args:
        config: Configuration of the run.
        seen: The problem as the model of each role gets it.
        engines: Engines by role.

    Raises:
        BadConversation: If the form does not fit the conversation.
        Unsupported: If the target cannot.
    """
    role: Role = "target" if "target" in engines else "draft"
    config.answer_form.check(seen[role])
    writes = role == "target" and isinstance(engines[role], AnswersInForm)
    if config.answer_form.shapes(seen[role]) and not writes:
        raise Unsupported(
            "tools, formats and log-probabilities of the answer need a served target, which the "
            f"{role} {engines[role].name} is not: serve it with vLLM, for example"
        )


async def prepare_engines(
    seen: Mapping[Role, Conversation], engines: Mapping[Role, Engine]
) -> None:
    """Let the engines find out whether they take the video files of a problem.

    Args:
        seen: The problem as the model of each role gets it.
        engines: Engines by role.

    Raises:
        EngineError: If the model that answers fails.
    """
    for role, engine in engines.items():
        if not (seen[role].video_files and isinstance(engine, Preparable)):
            continue
        try:
            await engine.prepare(seen[role])
        except EngineLost:
            if role == "target" or len(engines) == 1:
                raise  # else the run continues without the draft


def unreadable(conversation: Conversation, able: Capabilities) -> str:
    """Return why a model cannot read the images or sounds of a conversation; empty if it can."""
    if conversation.sounds and able.hears is False:
        return f"the problem has sound ({able.hearing_problem}): set --transcriber"
    images, most = len(conversation.images), able.max_images
    if not images:
        return ""
    if not able.images:
        return "the model accepts text only, the problem has images"
    if most is None or images <= most:
        return ""
    return (
        f"the model reads {most} image{'s' * (most != 1)}, the problem has {images} with pages and "
        f"frames: choose pages with --pages, or fewer frames with --frames (in requests "
        f"dreamr.pages or dreamr.frames), or attach less"
    )


def dtypes_of(engines: Mapping[Role, Engine]) -> dict[str, str]:
    """Return the data types of local models, by role."""
    found = {str(role): engine.capabilities.dtype for role, engine in engines.items()}
    return {role: dtype for role, dtype in found.items() if dtype}


def rounding_notes(config: RunConfig, engines: Mapping[Role, Engine]) -> list[str]:
    """Return a note for each model whose rounding a deterministic run depends on.

    On a CPU in bfloat16, it depends on the rows that share a pass, and so on timing.
    """
    if not config.options.deterministic:
        return []
    return [
        f"the {role} runs in bfloat16, so its text may depend on timing: open the models with "
        "--deterministic, or with --dtype float32"
        for role, engine in engines.items()
        if engine.capabilities.device == "cpu" and engine.capabilities.dtype == "bfloat16"
    ]


def server_advice(engines: Iterable[Engine]) -> str:
    """Return the advice to serve models that are slow here; empty if there is none.

    Decoding in the process runs in eager mode. On CUDA, a token then takes as long for a small
    model as for a large one, so speculation gains nothing.
    """
    if all(engine.capabilities.device.startswith("cuda") for engine in engines):
        return (
            "local models on CUDA decode a token about as slowly whatever their size: serve them, "
            "for example with vLLM, and pass the URLs as --target and --draft"
        )
    return ""


def _check_judge_batch(config: RunConfig, engines: Mapping[Role, Engine]) -> None:
    if config.method != "fpsr" or config.options.judge_batch != "window":
        return
    target = engines["target"]
    able = target.capabilities
    if not able.independent or able.windows or config.gate.query.margins:
        return
    why = f" ({able.window_problem})" if able.window_problem else ""
    raise Unsupported(
        f"--judge-batch window needs a target that judges a window in one request, which "
        f"{target.name} {_kind(able)}cannot{why}: use --judge-batch step or auto"
    )


def _chosen(config: RunConfig) -> bool:
    """Return whether users choose the gate; other gates belong to a method."""
    return type(config.gate) in GATES.values()


def _subject(config: RunConfig) -> str:
    name = gate_name(config.gate)
    return f"gate {name}" if _chosen(config) else f"method {config.method} ({name})"


def _advice(config: RunConfig, wanted: _Requirement) -> str:
    return wanted.advice if _chosen(config) else "use --method fpsr with --gate word, or target"


def _why(capabilities: Capabilities, wanted: _Requirement) -> str:
    known = capabilities.judge_problem if wanted.capability == "judge" else ""
    return f" ({known})" if known else ""


def _kind(capabilities: Capabilities) -> str:
    return f"({capabilities.kind}) " if capabilities.kind else ""
