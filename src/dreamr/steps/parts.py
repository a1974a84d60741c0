"""Split a stream of text into parts at each delimiter: steps before short ones are joined."""

from __future__ import annotations

from collections import deque

from dreamr.steps.step import Ending, Step
from dreamr.steps.step_format import StepFormat
from dreamr.steps.thoughts import Thoughts


class PartSplitter:
    """Splits one stream at each delimiter, however short the steps; see `StepSplitter`.

    Its rules are those of `StepSplitter`, but for joining: texts, tokens and log-probabilities are
    shared among the steps, and white space stays pending, as described there.
    """

    def __init__(self, step_format: StepFormat | None = None, *, prefix: str = "") -> None:
        """Begin a stream.

        Args:
            step_format: How steps and the final answer are marked; defaults if None.
            prefix: The assistant's text before the stream.
        """
        self._step_format = step_format or StepFormat()
        self._delimiter = self._step_format.delimiter
        self._overlap = len(self._delimiter) - 1  # characters of an incomplete delimiter
        self._thoughts = Thoughts(opened=self._step_format.opens_thought)
        self._thoughts.push(prefix)
        self._start = len(prefix)  # of the current step, in the assistant's text
        self._tags: deque[tuple[int, bool]] = deque()  # those after the start: see `Thoughts.push`
        self._inside = self._thoughts.inside  # whether the start is inside a thought
        self._begin()
        self._text = ""
        self._tokens = 0
        self._logprob: float | None = 0.0
        self._min_logprob: float | None = 0.0
        self._entropy: float | None = None
        self._opened = False  # whether a token of the current step has arrived
        self._done = False

    def _begin(self) -> None:
        self._content = -1  # index of the first character that is not white space, -1: none yet
        self._searched = 0  # no delimiter begins before this index
        self._is_answer: bool | None = None  # None: not enough text to decide
        self._cap = self._step_format.max_tokens

    @property
    def pending(self) -> str:
        """Text that is not part of a step yet."""
        return self._text

    @property
    def pending_tokens(self) -> int:
        """Tokens that are not part of a step yet."""
        return self._tokens

    @property
    def done(self) -> bool:
        """Whether no further step can come: `finish` was called, or the final answer was cut."""
        return self._done

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
        if tokens and not self._opened:
            self._opened, self._entropy = True, entropy
        boundary = len(self._text)
        self._text += text
        tags = self._thoughts.push(text)
        if text or tokens:
            self._weigh(logprob, min_logprob)
        if (  # fast path: nearly every token is inside a step
            self._is_answer is False
            and not tags
            and self._tokens + tokens < self._cap
            and self._text.find(self._delimiter, self._searched) < 0
        ):
            self._tokens += tokens
            if (searched := boundary + len(text) - self._overlap) > self._searched:
                self._searched = searched
            return []
        self._tags += tags
        steps: list[Step] = []
        share = _Share(boundary, self._tokens, len(text), tokens)
        while not self._done and (end := self._end_of_step()) is not None:
            self._tokens = share.take(end)
            steps.append(self._cut(end, Ending.DELIMITER))
            if self._text:  # its first token came in the middle of this chunk
                self._opened = True
                self._weigh(None if logprob is None else 0.0, min_logprob)
        self._tokens = share.rest
        if not self._done and self._tokens >= self._cap:
            self._done = bool(self._is_answer)
            steps.append(self._cut(len(self._text), Ending.CAP))
        return steps

    def _weigh(self, logprob: float | None, min_logprob: float | None) -> None:
        """Add a chunk's log-probabilities to the current step; unknown ones make it unknown."""
        if (
            logprob is None
            or min_logprob is None
            or self._logprob is None
            or self._min_logprob is None
        ):
            self._logprob = self._min_logprob = None
            return
        self._logprob += logprob
        if not min_logprob >= self._min_logprob:  # written so that a NaN is kept
            self._min_logprob = min_logprob

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
        if self._done:
            return None
        self._done = True
        if truncated:
            return self._cut(len(self._text), Ending.CAP) if self._text else None
        if not self._is_answer and self._thoughts.unanswered:
            return self._cut(len(self._text), Ending.THOUGHT)
        if self._content < 0:
            return None
        return self._cut(len(self._text), Ending.ANSWER if self._is_answer else Ending.END)

    def _cut(self, end: int, ending: Ending) -> Step:
        step = Step(
            self._text[:end], self._tokens, ending, self._logprob, self._min_logprob, self._entropy
        )
        self._text = self._text[end:]
        self._tokens = 0
        self._logprob = self._min_logprob = 0.0
        self._opened, self._entropy = False, None
        self._start += end
        while self._tags and self._tags[0][0] <= self._start:
            _, self._inside = self._tags.popleft()
        self._begin()
        return step

    def _end_of_step(self) -> int | None:
        """Return where the current step ends, None if it is incomplete; search new text only."""
        if self._content < 0 and not self._find_content():
            return None
        thought_end = next((end - self._start for end, inside in self._tags if not inside), None)
        if self._is_answer and thought_end is not None:
            self._searched = self._content + 1
            self._is_answer, self._cap = False, self._step_format.max_tokens
        if self._is_answer is None:
            self._look_for_marker(in_thought=self._inside or thought_end is not None)
        if self._is_answer:
            return None
        found = self._text.find(self._delimiter, self._searched)
        if found >= 0:
            found += len(self._delimiter)
            return found if thought_end is None else min(found, thought_end)
        self._searched = max(self._searched, len(self._text) - self._overlap)
        return thought_end

    def _find_content(self) -> bool:
        rest = self._text[self._searched :].lstrip()
        self._searched = len(self._text) - len(rest)
        if rest:
            self._content = self._searched
            self._searched += 1  # a step has content before its delimiter
        return bool(rest)

    def _look_for_marker(self, *, in_thought: bool) -> None:
        marker = self._step_format.answer_marker
        if marker is None or in_thought:
            self._is_answer = False
            return
        seen = self._text[self._content : self._content + len(marker)]
        if seen == marker:
            self._is_answer = True
            self._cap = self._step_format.max_answer_tokens
        elif not marker.startswith(seen):
            self._is_answer = False


class _Share:
    """Shares the tokens of the text so far and of a new chunk among the steps that end in them."""

    def __init__(self, before: int, tokens_before: int, length: int, tokens: int) -> None:
        self._before, self._tokens_before = before, tokens_before
        self._length, self._tokens = length, tokens
        self._place = self._spent = 0

    def take(self, characters: int) -> int:
        """Return the number of tokens of the next characters."""
        self._place += characters
        if self._place < self._before:
            until = -(-self._tokens_before * self._place // self._before)  # rounded up
        else:
            used = self._place - self._before
            more = -(-self._tokens * used // self._length) if used else 0
            until = self._tokens_before + more
        share, self._spent = until - self._spent, until
        return share

    @property
    def rest(self) -> int:
        """Number of tokens that are left."""
        return self._tokens_before + self._tokens - self._spent
