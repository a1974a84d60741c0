"""Cutting a stream of text into steps while it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.steps.step import Ending, Step


@dataclass(frozen=True, slots=True)
class StepFormat:
    r"""Where steps end.

    A step is white space, then something, then everything up to and including the delimiter: so
    leading blank lines belong to a step, and a third newline after "\n\n" begins the next one.
    A step whose first words are the answer marker is the final answer and runs to the end.

    max_tokens, max_answer_tokens: a step (the final answer) that reaches so many tokens is cut,
    with `Ending.CAP`; only such a step can be white space alone. answer_marker: None where answers
    are not marked.

    Raises:
        ValueError: an empty delimiter or marker, a marker with the delimiter in it, a cap below 1.
    """

    delimiter: str = "\n\n"
    answer_marker: str | None = "Answer:"
    max_tokens: int = 256
    max_answer_tokens: int = 1024

    def __post_init__(self) -> None:
        if not self.delimiter:
            raise ValueError("the delimiter must not be empty")
        if self.answer_marker is not None:
            self._check_marker(self.answer_marker)
        if min(self.max_tokens, self.max_answer_tokens) < 1:
            raise ValueError("a step must be allowed at least one token")

    def _check_marker(self, marker: str) -> None:
        if not marker or marker[0].isspace():
            raise ValueError("the answer marker must begin with something visible")
        if self.delimiter in marker:
            raise ValueError("the answer marker must not contain the delimiter")

    def answer(self, text: str) -> str | None:
        """What stands behind the marker, stripped; None where the text is no marked answer."""
        marker, text = self.answer_marker, text.lstrip()
        if marker is None or not text.startswith(marker):
            return None
        return text[len(marker) :].strip()


class StepSplitter:
    """Cuts one stream; `push` what arrives, and `finish` at its end.

    The steps' texts concatenate to what was pushed, their tokens add up to the tokens pushed; what
    is left at the end without making a step (white space) stays in `pending` and
    `pending_tokens`. Cuts depend on the text alone and not on how it was chunked, except for the
    caps: they are looked at after each chunk, so they are exact where a chunk is one token.

    A chunk that holds the end of a step gives it its tokens by characters, rounded up: a token
    across the boundary belongs to the step that it ends. So does the chunk's log-probability; its
    lowest counts for every step that has a part of it.
    """

    def __init__(self, step_format: StepFormat | None = None) -> None:
        self._step_format = step_format or StepFormat()
        self._delimiter = self._step_format.delimiter
        self._overlap = len(self._delimiter) - 1  # so much of one may have arrived
        self._begin()
        self._text = ""
        self._tokens = 0
        self._logprob: float | None = 0.0
        self._least: float | None = 0.0
        self._done = False

    def _begin(self) -> None:
        self._content = -1  # index of the first character that is not white space, -1: none yet
        self._searched = 0  # no delimiter begins before this index
        self._is_answer: bool | None = None  # None: too early to say
        self._cap = self._step_format.max_tokens

    @property
    def pending(self) -> str:
        """Text that is in no step yet."""
        return self._text

    @property
    def pending_tokens(self) -> int:
        """Tokens that are in no step yet."""
        return self._tokens

    @property
    def done(self) -> bool:
        """Whether no further step can come: the end was told, or the final answer was cut."""
        return self._done

    def push(
        self, text: str, tokens: int, logprob: float | None = None, least: float | None = None
    ) -> list[Step]:
        """Take the next chunk of `tokens` tokens; give the steps that it completes.

        logprob, least: of these tokens, as `Step` has them.
        """
        boundary = len(self._text)
        self._text += text
        if text or tokens:
            self._weigh(logprob, least)
        if (  # within a step, as nearly every token is: nothing is done that need not be
            self._is_answer is False
            and self._tokens + tokens < self._cap
            and self._text.find(self._delimiter, self._searched) < 0
        ):
            self._tokens += tokens
            if (searched := boundary + len(text) - self._overlap) > self._searched:
                self._searched = searched
            return []
        steps: list[Step] = []
        spent = used = 0
        while not self._done and (end := self._end_of_step()) is not None:
            used += end - boundary
            boundary = 0
            share = -(-tokens * used // len(text))  # rounded up
            self._tokens += share - spent
            spent = share
            steps.append(self._cut(end, Ending.DELIMITER))
            if self._text:
                self._weigh(None if logprob is None else 0.0, least)
        self._tokens += tokens - spent
        if not self._done and self._tokens >= self._cap:
            self._done = bool(self._is_answer)
            steps.append(self._cut(len(self._text), Ending.CAP))
        return steps

    def _weigh(self, logprob: float | None, least: float | None) -> None:
        if logprob is None or least is None or self._logprob is None or self._least is None:
            self._logprob = self._least = None
            return
        self._logprob += logprob
        if not least >= self._least:  # a NaN stays
            self._least = least

    def finish(self, *, truncated: bool = False) -> Step | None:
        """End the stream; `truncated` where a limit ended it and not the model.

        Returns the step that was under way, if there was anything but white space in it, or if it
        was cut: whoever goes on from there needs the white space too.
        """
        if self._done:
            return None
        self._done = True
        if self._content < 0 and not (truncated and self._text):
            return None
        ending = Ending.ANSWER if self._is_answer else Ending.END
        return self._cut(len(self._text), Ending.CAP if truncated else ending)

    def _cut(self, end: int, ending: Ending) -> Step:
        step = Step(self._text[:end], self._tokens, ending, self._logprob, self._least)
        self._text = self._text[end:]
        self._tokens = 0
        self._logprob = self._least = 0.0
        self._begin()
        return step

    def _end_of_step(self) -> int | None:
        """Where the step under way ends, if its delimiter is there; looks at new text only."""
        if self._content < 0 and not self._find_content():
            return None
        if self._is_answer is None:
            self._look_for_marker()
        if self._is_answer:
            return None
        found = self._text.find(self._delimiter, self._searched)
        if found >= 0:
            return found + len(self._delimiter)
        self._searched = max(self._searched, len(self._text) - self._overlap)
        return None

    def _find_content(self) -> bool:
        rest = self._text[self._searched :].lstrip()
        self._searched = len(self._text) - len(rest)
        if rest:
            self._content = self._searched
            self._searched += 1  # a step is something, then a delimiter
        return bool(rest)

    def _look_for_marker(self) -> None:
        marker = self._step_format.answer_marker
        if marker is None:
            self._is_answer = False
            return
        seen = self._text[self._content : self._content + len(marker)]
        if seen == marker:
            self._is_answer = True
            self._cap = self._step_format.max_answer_tokens
        elif not marker.startswith(seen):
            self._is_answer = False
