"""Token ids of prompts, made with the model's own chat template.

A prompt consists of the conversation, rendered with the assistant's turn opened, and the tokens of
each prefix step, each tokenized separately. A judge question consists of everything that the
template writes after the assistant's text if the question is the next user turn. The step's own
tokens precede it, so templates that drop earlier reasoning (those of thinking models) cannot drop
the step.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from dreamr._messages import one_line
from dreamr.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Part,
    Text,
    Tool,
    Turn,
    Video,
    VideoFile,
)
from dreamr.engines.local.bounds import OverBound, bounded
from dreamr.engines.local.constraints import Constraints
from dreamr.engines.local.detokenize import Texts
from dreamr.engines.local.options import NO_SOUND, NO_VIDEO
from dreamr.engines.local.tool_calls import writes_calls
from dreamr.errors import EngineError, Unsupported
from dreamr.steps import opens_thought

_MARK = "qzassistantqz"
_JOINER = "\u2060"  # invisible; splits the names of special tokens in text
_ANCHOR = "\n"
_TEMPLATE = "the model's chat template"
_MOST_OUTPUT = 2**20  # characters that a template may add to the conversation

Message = dict[str, Any]


class Prompter:
    """Renders conversations and steps for one tokenizer and chat template.

    Args:
        tokenizer: A fast tokenizer of transformers.
        template: Chat template, in Jinja.
        images: Whether the model accepts images.
        image_token: Token that the template writes for an image.
    """

    def __init__(self, tokenizer: Any, template: str, *, images: bool, image_token: str) -> None:
        self._tokenizer = tokenizer
        # Direct calls take a third of the time, but apply the limits in the tokenizer's file.
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._template = template
        self._images = images
        self.special = frozenset(tokenizer.all_special_ids)
        self.texts = Texts(self._backend, self.special)
        names = {*tokenizer.all_special_tokens, *([image_token] if images else [])}
        self._names = sorted((name for name in names if name), key=len, reverse=True)
        self._anchor = [] if self.texts.byte_level else self._encode(_ANCHOR)

    @property
    def writes_calls(self) -> bool:
        """Whether the chat template shows tools, and calls in a form that is read."""
        return writes_calls(self._template)

    def constraints(self, ends: Collection[int]) -> Constraints:
        """Return what keeps answers in their formats.

        Args:
            ends: Ids of the tokens that end an answer.
        """
        return Constraints(self._backend.to_str(), ends)

    def opening(self, conversation: Conversation) -> list[int]:
        """Return the conversation with the assistant's turn opened; one token per image.

        Raises:
            Unsupported: If the model does not accept a part of the conversation.
        """
        messages = [self._message(turn) for turn in conversation.turns]
        tools = [self._plainly(_tool(tool)) for tool in conversation.tools]
        return self._encode(self._render(messages, **({"tools": tools} if tools else {})))

    def opens_thought(self) -> bool:
        """Check whether the chat template opens a thought in the assistant's turn."""
        try:
            return opens_thought(self._render([self._user("-")]))
        except EngineError:  # each conversation meets the same error
            return False

    def images_in(self, conversation: Conversation) -> list[Image]:
        """Return all images of a conversation, in order."""
        parts = [part for turn in conversation.turns for part in turn.parts]
        return [part for part in parts if isinstance(part, Image)]

    def step(self, text: str) -> list[int]:
        """Return the tokens of a step's text, independent of the text before it."""
        text = self._plain(text)
        ids = self._encode(_ANCHOR + text) if self._anchor else []
        # Some tokenizers put a space before each text, also where it continues another one.
        if ids and ids[: len(self._anchor)] == self._anchor:
            return ids[len(self._anchor) :]
        return self._encode(text)

    def question(self, text: str) -> list[int]:
        """Return the tokens after the assistant's text if this question is the next user turn."""
        opening = [self._user("-")]
        rendered = self._render(
            [*opening, self._assistant(_MARK), self._user(text)], enable_thinking=False
        )
        _, found, closing = rendered.rpartition(_MARK)
        if not found or self._plain(text) not in closing:
            closing = self._closing_by_hand(text)
        return self._encode(closing)

    def _closing_by_hand(self, text: str) -> str:
        """Build the text for templates that drop earlier answers.

        It consists of the end of the turn and a user turn that is rendered alone.
        """
        turn = self._render([self._user(text)], enable_thinking=False)
        start = self._tokenizer.bos_token or ""
        return f"{self._tokenizer.eos_token or ''}\n{turn.removeprefix(start)}"

    def _message(self, turn: Turn) -> Message:
        more = self._plainly(_call_fields(turn))
        if not self._images or (turn.calls and not turn.parts):
            texts = [str(self._part(part)["text"]) for part in turn.parts]
            return {"role": turn.role, "content": "".join(texts), **more}
        return {"role": turn.role, "content": [self._part(part) for part in turn.parts], **more}

    def _part(self, part: Part) -> Message:
        match part:
            case Text(text):
                return {"type": "text", "text": self._plain(text)}
            case Image() if self._images:
                return {"type": "image"}
            case Image():
                raise Unsupported(
                    "the model accepts text only: remove the image or use another model"
                )
            case Audio():
                raise Unsupported(f"{NO_SOUND}: set --transcriber, or use a server that hears")
            case VideoFile():
                raise Unsupported(f"{NO_VIDEO}: leave out --native-video")
            case Video() | Document():
                kind = type(part).__name__.lower()
                raise Unsupported(f"local models do not accept {kind}: use a server that does")

    def _user(self, text: str) -> Message:
        return self._message(Turn("user", (Text(text),)))

    def _assistant(self, text: str) -> Message:
        return self._message(Turn("assistant", (Text(text),)))

    def _render(self, messages: list[Message], **options: Any) -> str:
        try:
            with bounded(_TEMPLATE):
                rendered = self._tokenizer.apply_chat_template(
                    messages,
                    chat_template=self._template,
                    tokenize=False,
                    add_generation_prompt=True,
                    **options,
                )
        except OverBound:
            raise
        except Exception as error:  # templates can raise any error
            raise EngineError(f"{_TEMPLATE} rejects the conversation: {one_line(error)}") from error
        most = _MOST_OUTPUT + 4 * sum(len(str(message["content"])) for message in messages)
        if len(rendered) > most:
            raise OverBound(f"{_TEMPLATE} writes more than {most:,} characters: use another model")
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _plain(self, text: str) -> str:
        """Split the names of special tokens, so that they are tokenized as text."""
        for name in self._names:
            if name in text:
                text = text.replace(name, name[0] + _JOINER + name[1:])
        return text

    def _plainly(self, value: Any) -> Any:
        """Return a value of a message with all its texts plain."""
        match value:
            case str():
                return self._plain(value)
            case dict():
                return {self._plain(name): self._plainly(each) for name, each in value.items()}
            case list():
                return list(map(self._plainly, value))
        return value


def _tool(tool: Tool) -> Message:
    """Return a tool as chat templates see it."""
    function = {"name": tool.name, "description": tool.description}
    return {"type": "function", "function": {**function, "parameters": json.loads(tool.parameters)}}


def _call_fields(turn: Turn) -> Message:
    """Return the fields of a message about calls of tools and thoughts of earlier turns."""
    fields: Message = {}
    if turn.call_id is not None:
        fields["tool_call_id"] = turn.call_id
    if turn.reasoning:
        fields["reasoning_content"] = turn.reasoning
    if turn.calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in turn.calls
        ]
    return fields


def _arguments(text: str) -> Any:
    """Return the arguments of a call: an object as templates expect it, or the text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict) else text


def label_tokens(prompter: Prompter, labels: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return the tokens of each label; their probabilities add up to its mass.

    A label's tokens are those of its spellings that are one token. If it has none, they are the
    first tokens of its spellings. Blank tokens and tokens of several labels are left out.

    Args:
        prompter: Tokenizes the spellings.
        labels: Spellings of each label.

    Raises:
        EngineError: If a label has no token left.
    """
    claimed = [_first_tokens(prompter, spellings) for spellings in labels]
    claims = Counter(token for tokens in claimed for token in tokens)
    found = [sorted(token for token in tokens if claims[token] == 1) for tokens in claimed]
    for spellings, tokens in zip(labels, found, strict=True):
        if not tokens:
            raise EngineError(
                f"no token distinguishes the label {spellings[0]!r}: choose other verdict labels"
            )
    return found


def _first_tokens(prompter: Prompter, spellings: Iterable[str]) -> set[int]:
    encoded = [prompter.step(spelling) for spelling in spellings]
    whole = {ids[0] for ids in encoded if len(ids) == 1}
    if whole:
        return whole
    return {ids[0] for ids in encoded if ids and prompter.texts.start([]).push(ids[0]).strip()}
