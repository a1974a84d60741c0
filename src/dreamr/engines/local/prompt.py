"""Token ids of prompts, from the model's own chat template.

A prompt is: the conversation rendered with the assistant's turn opened, then the tokens of each
prefix step, each tokenized on its own. A judging question is whatever the template puts behind the
assistant's text when the user asks something next; it follows the step's own tokens, so that no
template can drop them (those of thinking models drop the reasoning of earlier turns).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dreamr.conversation import Audio, Conversation, Document, Image, Part, Text, Turn, Video
from dreamr.engines.local.detokenize import Texts
from dreamr.errors import EngineError, Unsupported

_MARK = "qzassistantqz"
_JOINER = "\u2060"  # invisible; breaks a special token's name that the user has typed
_ANCHOR = "\n"

Message = dict[str, Any]


class Prompter:
    """Renders conversations and steps for one tokenizer and template.

    images: whether the model takes pictures. image_token: what the template writes for one.
    """

    def __init__(self, tokenizer: Any, template: str, *, images: bool, image_token: str) -> None:
        self._tokenizer = tokenizer
        # Asked directly it takes a third of the time; then its file's limits are to be lifted here.
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

    def opening(self, conversation: Conversation) -> list[int]:
        """The conversation with the assistant's turn opened; one token for each picture.

        Raises:
            Unsupported: a kind of content that the model cannot take.
        """
        messages = [self._message(turn) for turn in conversation.turns]
        return self._encode(self._render(messages))

    def pictures(self, conversation: Conversation) -> list[Image]:
        """All pictures of a conversation, in order."""
        parts = [part for turn in conversation.turns for part in turn.parts]
        return [part for part in parts if isinstance(part, Image)]

    def step(self, text: str) -> list[int]:
        """A step's tokens: those of its text alone, whatever stands before it."""
        text = self._plain(text)
        ids = self._encode(_ANCHOR + text) if self._anchor else []
        # Tokenizers that put a blank before each text must not do so in the middle of one.
        if ids and ids[: len(self._anchor)] == self._anchor:
            return ids[len(self._anchor) :]
        return self._encode(text)

    def question(self, text: str) -> list[int]:
        """What follows the assistant's text where the user goes on with this question."""
        opening = [self._user("-")]
        rendered = self._render(
            [*opening, self._assistant(_MARK), self._user(text)], enable_thinking=False
        )
        _, found, closing = rendered.rpartition(_MARK)
        if not found or self._plain(text) not in closing:
            closing = self._closing_by_hand(text)
        return self._encode(closing)

    def _closing_by_hand(self, text: str) -> str:
        """For templates that drop earlier answers: end the turn, then a turn as rendered alone."""
        turn = self._render([self._user(text)], enable_thinking=False)
        start = self._tokenizer.bos_token or ""
        return f"{self._tokenizer.eos_token or ''}\n{turn.removeprefix(start)}"

    def _message(self, turn: Turn) -> Message:
        if not self._images:
            texts = [str(self._part(part)["text"]) for part in turn.parts]
            return {"role": turn.role, "content": "".join(texts)}
        return {"role": turn.role, "content": [self._part(part) for part in turn.parts]}

    def _part(self, part: Part) -> Message:
        match part:
            case Text(text):
                return {"type": "text", "text": self._plain(text)}
            case Image() if self._images:
                return {"type": "image"}
            case Image():
                raise Unsupported(
                    "this model takes text only: leave the picture out or use another"
                )
            case Audio() | Video() | Document():
                raise Unsupported(f"no local model takes {type(part).__name__.lower()} yet")

    def _user(self, text: str) -> Message:
        return self._message(Turn("user", (Text(text),)))

    def _assistant(self, text: str) -> Message:
        return self._message(Turn("assistant", (Text(text),)))

    def _render(self, messages: list[Message], **options: Any) -> str:
        try:
            rendered = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
                **options,
            )
        except Exception as error:  # templates raise what they like
            raise EngineError(f"the model's chat template refuses this: {error}") from error
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _plain(self, text: str) -> str:
        """The text with special tokens' names broken, so that they are read as text."""
        for name in self._names:
            if name in text:
                text = text.replace(name, name[0] + _JOINER + name[1:])
        return text


def label_tokens(prompter: Prompter, labels: Sequence[Sequence[str]]) -> list[list[int]]:
    """The tokens whose probabilities make up the mass of each label, given by its spellings.

    Spellings of one token count; where a label has none of these, the first tokens of its
    spellings do. A token that several labels claim, or a blank one, says nothing and is left out.

    Raises:
        EngineError: nothing is left for a label.
    """
    claimed = [_first_tokens(prompter, spellings) for spellings in labels]
    claims = Counter(token for tokens in claimed for token in tokens)
    found = [sorted(token for token in tokens if claims[token] == 1) for tokens in claimed]
    for spellings, tokens in zip(labels, found, strict=True):
        if not tokens:
            raise EngineError(
                f"the tokenizer has no token of its own for the label {spellings[0]!r}"
            )
    return found


def _first_tokens(prompter: Prompter, spellings: Iterable[str]) -> set[int]:
    encoded = [prompter.step(spelling) for spelling in spellings]
    whole = {ids[0] for ids in encoded if len(ids) == 1}
    if whole:
        return whole
    return {ids[0] for ids in encoded if ids and prompter.texts.start([]).push(ids[0]).strip()}
