"""The arguments of a run, checked before anything depends on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypedDict

import anyio
import anyio.to_thread

from dreamr._option_specs import BadOption, option_specs, shown_value
from dreamr._options import RunOptions
from dreamr.answers import AnswerForm
from dreamr.conversation import (
    Attachment,
    AttachmentSource,
    BadConversation,
    Conversation,
)
from dreamr.engines.call_labels import CallLabels, labeled_calls
from dreamr.gate import Gate
from dreamr.runner import Deadline, RunConfig, RunHook, deadline_of
from dreamr.trace import CommittedStep, Event

# Names that look as if they could hold an attachment.
_ATTACHED = (
    "attachment", "attachments", "image", "images", "document", "documents", "video", "videos",
    "audio", "sound", "file", "files",
)  # fmt: skip


class RunArguments(TypedDict, total=False):
    """Keyword arguments of a run.

    Attributes:
        options: Options of this run; by default those of the Reasoner. The models and the profile
            are fixed when the Reasoner opens.
        on_event: Called with each event as it happens.
        gate: Gate that decides about drafted steps, instead of the one of options and method.
        hooks: Hooks called before and after the run, in this order.
        deadline: Seconds from now at which the run ends, instead of that of the options.
        priority: Priority of the calls at model servers that have priorities, as in vLLM: lower
            ones are served first.
        request_id: Id of the run for the trace and the logs of model servers.
        answer_form: Form of the answer: a choice of tools, a format, log-probabilities. The tools
            are those of the conversation.
        cache_salt: Runs with different salts share no cached prompts, so the time of one does not
            tell what another was asked.
        session: Name of the session that the run belongs to. A router in front of several copies of
            a server sends all calls of a session to one copy. By default, runs whose conversations
            begin alike are a session.
        committed: Steps of an interrupted run of the same problem, such as those of a `Result`. The
            run commits them first and continues after them.
    """

    options: RunOptions | None
    gate: Gate | None
    on_event: Callable[[Event], None] | None
    hooks: Sequence[RunHook]
    deadline: float | None
    priority: int
    request_id: str | None
    cache_salt: str | None
    session: str | None
    answer_form: AnswerForm | None
    committed: Sequence[CommittedStep]


def with_arguments(config: RunConfig, arguments: RunArguments) -> RunConfig:
    """Return the configuration of a run with what its arguments say about it."""
    return replace(
        config,
        gate=arguments.get("gate") or config.gate,
        request_id=arguments.get("request_id"),
        answer_form=arguments.get("answer_form") or config.answer_form,
        committed=tuple(arguments.get("committed") or ()),
    )


def labeled(arguments: RunArguments) -> AbstractContextManager[None]:
    """Return a block whose engine calls have the labels of a run."""
    priority = arguments.get("priority") or 0
    labels = CallLabels(
        arguments.get("request_id"),
        arguments.get("cache_salt"),
        priority,
        arguments.get("session"),
    )
    return labeled_calls(labels)


def deadline_of_run(arguments: RunArguments, options: RunOptions) -> Deadline | None:
    """Return the deadline of a run: that of its arguments before that of its options."""
    return deadline_of(arguments.get("deadline") or options.deadline, options.on_deadline)


async def read_problem(
    question: str | Conversation,
    attachments: Sequence[AttachmentSource | Sequence[AttachmentSource]],
    read: Callable[[AttachmentSource], Attachment],
) -> Conversation:
    """Return the conversation of a problem, with its attachments read.

    Args:
        question: Text of the problem, or a conversation.
        attachments: Attachments of the problem.
        read: Reads one of them.

    Raises:
        ConversationError: If the text or an attachment cannot be used.
    """
    given = _flat(attachments)
    if isinstance(question, Conversation):
        if given:
            raise BadConversation(
                "a Conversation already contains its attachments: pass no further ones"
            )
        question.check()
        return question
    if not given or not isinstance(question, str) or question.strip():
        Conversation.from_prompt(question)  # before the attachments, whose reading takes time
    found = [await anyio.to_thread.run_sync(read, each) for each in given]
    return Conversation.from_prompt(question, *found)


def _flat(
    attachments: Sequence[AttachmentSource | Sequence[AttachmentSource]],
) -> list[AttachmentSource]:
    """Return the attachments, of which several may be given as one list."""
    found: list[AttachmentSource] = []
    for attachment in attachments:
        if isinstance(attachment, list | tuple):
            found += attachment
        else:
            found.append(attachment)  # type: ignore[arg-type]
    return found


def check_run_options(options: object) -> RunOptions | None:
    """Return the options of a run, or None.

    Raises:
        BadOption: If they are anything else.
    """
    if options is None or isinstance(options, RunOptions):
        return options
    raise BadOption(
        f"options must be RunOptions, not {shown_value(options)}: pass RunOptions(window=8), for "
        "example"
    )


def check_arguments(arguments: RunArguments) -> None:
    """Check the names of the arguments of a run, and those that would fail only later.

    Raises:
        BadOption: If one is unknown or cannot be used.
    """
    known = RunArguments.__annotations__
    for name in arguments.keys() - known.keys():
        if name in option_specs(RunOptions):
            raise BadOption(f"{name} is an option: pass options=RunOptions({name}=...)")
        if name in _ATTACHED:
            raise BadOption(
                "attachments follow the question without a name, as in ask(question, 'bill.pdf')"
            )
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"the arguments are {', '.join(known)}"
        raise BadOption(f"a run has no argument {name}; {hint}")
    check_run_options(arguments.get("options"))
    on_event: Any = arguments.get("on_event")
    if on_event is not None and not callable(on_event):
        raise BadOption(f"on_event must be a function, not {shown_value(on_event)}")
    hooks, gate = arguments.get("hooks") or (), arguments.get("gate")
    if not isinstance(hooks, list | tuple) or not all(hasattr(h, "before_run") for h in hooks):
        raise BadOption(f"hooks must be a list of hooks, not {shown_value(hooks)}")
    form: Any = arguments.get("answer_form")
    if form is not None and not isinstance(form, AnswerForm):
        raise BadOption(f"answer_form must be an AnswerForm, not {shown_value(form)}")
    seconds: Any = arguments.get("deadline")
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise BadOption(f"deadline must be a number of seconds, not {shown_value(seconds)}")
    priority: Any = arguments.get("priority")
    if priority is not None and not isinstance(priority, int):
        raise BadOption(f"priority must be a whole number, not {shown_value(priority)}")
    if gate is not None and not hasattr(gate, "decide"):
        raise BadOption(f"gate must be a gate, such as RatioGate(0.7), not {shown_value(gate)}")
    committed: Any = arguments.get("committed") or ()
    if not (
        isinstance(committed, list | tuple)
        and all(isinstance(one, CommittedStep) for one in committed)
    ):
        raise BadOption(f"committed must be the steps of a Result, not {shown_value(committed)}")
