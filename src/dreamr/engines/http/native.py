"""Read the responses of llama.cpp's and SGLang's own endpoints.

Both have other names of fields than OpenAI's, and SGLang repeats all of its text in each event.
"""

from __future__ import annotations

from dreamr.engines.http.completions import Completion, Usage
from dreamr.engines.http.fields import Field
from dreamr.errors import EngineError

_LLAMA_FINISH = {"eos": "stop", "word": "stop", "limit": "length"}


def read_llama(value: object, url: str) -> Completion:
    """Read a response of llama.cpp's /completion, or one event of its stream.

    Raises:
        EngineError: If a field cannot be read.
    """
    answer = Field(value, url)
    stopped = answer.get("stop").value is True
    stop_type = answer.get("stop_type").value
    reason = _LLAMA_FINISH.get(str(stop_type), "stop") if stopped else None
    timings = answer.get("timings")
    cached = timings.get("cache_n").count() if isinstance(timings.value, dict) else None
    probabilities = answer.get("completion_probabilities")
    return Completion(
        text=answer.get("content").piece(),
        thought="",
        whole=False,
        reason=Field(reason, url, "stop_type", answer),
        logprobs=probabilities,
        usage=Usage.checked(
            answer.get("tokens_evaluated").count(), answer.get("tokens_predicted").count(), cached
        ),
        chosen=True,
    )


class SglangReader:
    """Reads the response of one request to SGLang's /generate.

    Events carry all text and all log-probabilities so far, or with the server's option
    `--incremental-streaming-output` only the new ones: `output_ids` is then shorter than the number
    of tokens that the event reports.
    """

    def __init__(self) -> None:
        self._text = ""
        self._tokens = 0

    def __call__(self, value: object, url: str) -> Completion:
        """Read a response, or one event of a stream.

        Raises:
            EngineError: If a field cannot be read.
        """
        answer = Field(value, url)
        meta = answer.get("meta_info")
        tokens = meta.get("completion_tokens").count()
        text, logprobs = answer.get("text").piece(), self._logprobs(meta)
        if self._repeats(answer, tokens):
            text, logprobs = self._added(text, url), logprobs[self._tokens :]
        self._text += text
        self._tokens = tokens if tokens is not None else self._tokens + len(logprobs)
        return Completion(
            text=text,
            thought="",
            whole=False,
            reason=meta.get("finish_reason"),
            logprobs=Field(logprobs or None, url, "output_token_logprobs", meta),
            usage=Usage.checked(
                meta.get("prompt_tokens").count(), tokens, meta.get("cached_tokens").count()
            ),
            chosen=True,
        )

    def _added(self, text: str, url: str) -> str:
        """Return what a repeated text adds; nothing if its end was taken back.

        Raises:
            EngineError: If the text has changed.
        """
        if not (text.startswith(self._text) or self._text.startswith(text)):
            raise EngineError(f"{url} repeated its text with changes")
        return text[len(self._text) :]

    def _repeats(self, answer: Field, tokens: int | None) -> bool:
        """Check whether an event repeats what earlier events had."""
        ids = answer.get("output_ids")
        return not isinstance(ids.value, list) or tokens is None or len(ids.value) >= tokens

    @staticmethod
    def _logprobs(meta: Field) -> list[object]:
        """Return the log-probabilities in the form of chat completions."""
        chosen = [_token(entry) for entry in meta.get("output_token_logprobs").items()]
        tops = meta.get("output_top_logprobs").items()
        asked = meta.get("output_token_ids_logprobs").items()
        for place, token in enumerate(chosen):
            listed = [*tops[place : place + 1], *asked[place : place + 1]]
            found = [_token(entry) for part in listed for entry in part.items()]
            token["top_logprobs"] = list({one["id"]: one for one in found}.values())
        return list(chosen)


def _token(entry: Field) -> dict[str, object]:
    """Return a token that SGLang lists as log-probability, id and text."""
    logprob, number, text = (*(part.value for part in entry.items()), None, None, None)[:3]
    return {"logprob": logprob, "id": number, "token": text if isinstance(text, str) else ""}
