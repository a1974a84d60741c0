"""Split a stream of text into steps as it arrives."""

from __future__ import annotations

from dreamr.steps.parts import PartSplitter
from dreamr.steps.step import Ending, Step
from dreamr.steps.step_format import StepFormat, length


class StepSplitter:
    """Splits one stream: call `push` with each chunk and `finish` at the end.

    The texts of the steps concatenate to the pushed text, and their token counts add up to the
    pushed tokens. White space that makes no step at the end stays in `pending` and
    `pending_tokens`. Steps depend on the text only, not on how it was divided into chunks. The
    exception is the length cap: it is checked after each chunk, and is therefore exact if each
    chunk is one token.

    A step shorter than `StepFormat.min_tokens` is held back and joined with the step that follows.
    It stays alone before the final answer, at the end of a thought and at the end of the stream.

    If what seemed to be the final answer turns out to be part of a thought, because a tag ends the
    thought there, it is split into steps after all.

    If a step ends inside a chunk, the chunk's tokens are shared in proportion to characters,
    rounded up: a token across the boundary belongs to the step that it ends. The chunk's
    log-probability goes to that step too. The chunk's lowest log-probability counts for every step
    that contains part of the chunk.
    """

    def __init__(self, step_format: StepFormat | None = None, *, prefix: str = "") -> None:
        """Begin a stream.

        Args:
            step_format: How steps and the final answer are marked; defaults if None.
            prefix: The assistant's text before the stream.
        """
        self._step_format = step_format or StepFormat()
        self._parts = PartSplitter(self._step_format, prefix=prefix)
        self._short: Step | None = None  # waits for the step that follows

    @property
    def pending(self) -> str:
        """Text that is not part of a step yet."""
        return ("" if self._short is None else self._short.text) + self._parts.pending

    @property
    def pending_tokens(self) -> int:
        """Tokens that are not part of a step yet."""
        return (0 if self._short is None else self._short.tokens) + self._parts.pending_tokens

    @property
    def done(self) -> bool:
        """Whether no further step can come: `finish` was called, or the final answer was cut."""
        return self._parts.done

    def push(
        self,
        text: str,
        tokens: int,
        logprob: float | None = None,
        min_logprob: float | None = None,
        entropy: float | None = None,
    ) -> list[Step]:
        """Add the next chunk and return the steps that it completes.

        Args:
            text: Text of the chunk.
            tokens: Number of its tokens.
            logprob: Sum of their log-probabilities (nats), None if unknown.
            min_logprob: Lowest of their log-probabilities (nats), None if unknown.
            entropy: Entropy (nats) at the first of them, None if unknown.
        """
        parts = self._parts.push(text, tokens, logprob, min_logprob, entropy)
        if not parts and self._short is None:  # nearly every token
            return []
        steps = [step for part in parts for step in self._join(part)]
        if self._short is not None and self._is_marked(self._parts.pending):
            steps.append(self._short)
            self._short = None
        return steps

    def finish(self, *, truncated: bool = False) -> Step | None:
        """End the stream and return the last step, if there is one.

        Args:
            truncated: Whether a limit ended the stream, not the model.

        Returns:
            The current step if it contains more than white space, or if the stream was truncated: a
            continuation from there needs the white space too. If the assistant's text consists of
            thoughts alone or ends inside one, a step that says so, which may be empty. Otherwise
            None.
        """
        last = self._parts.finish(truncated=truncated)
        short, self._short = self._short, None
        return last if short is None else short if last is None else _joined(short, last)

    def _join(self, part: Step) -> list[Step]:
        """Return the steps that a part completes, and hold it back if it is short."""
        steps = []
        if self._short is not None:
            if self._is_marked(part.text):
                steps.append(self._short)
            else:
                part = _joined(self._short, part)
            self._short = None
        if self._is_short(part):
            self._short = part
        else:
            steps.append(part)
        return steps

    def _is_marked(self, text: str) -> bool:
        """Check whether a text begins like the final answer, even if it is part of a thought."""
        marker = self._step_format.answer_marker
        return marker is not None and text.lstrip().startswith(marker)

    def _is_short(self, part: Step) -> bool:
        step_format = self._step_format
        return (
            step_format.min_tokens > 1
            and part.ending is Ending.DELIMITER
            and part.text.endswith(step_format.delimiter)  # else it ends at the end of a thought
            and length(part.text) < step_format.min_tokens
        )


def _joined(first: Step, second: Step) -> Step:
    logprob = minimum = None
    if first.logprob is not None and second.logprob is not None:
        logprob = first.logprob + second.logprob
    if first.min_logprob is not None and second.min_logprob is not None:
        # In this order a NaN of either is kept.
        first_least, second_least = first.min_logprob, second.min_logprob
        minimum = first_least if not first_least >= second_least else second_least
    text, tokens = first.text + second.text, first.tokens + second.tokens
    return Step(text, tokens, second.ending, logprob, minimum, first.entropy)
