"""The chat model for lmms-eval."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NoReturn

from dreamr import DreamrError, Reasoner, Result, Unsupported
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from lmms_eval.models.model_utils.usage_metrics import is_budget_exceeded, log_usage
from loguru import logger
from tqdm import tqdm

from dreamr_lmms_eval.arguments import concurrency_of, one_of, options_of
from dreamr_lmms_eval.messages import REQUEST, conversation_of, cut

BUDGET_EXCEEDED = "[LMMS_EVAL_BUDGET_EXCEEDED]"  # as returned by lmms-eval's own models
USED = ("until",)  # generation arguments of a task that have an effect


class DreamrChat(lmms):  # type: ignore[misc]  # an untyped base
    """A target with a draft as a chat model of lmms-eval.

    Of a task's generation arguments, only `until` is used, on the returned text. Limits and
    sampling are model arguments, because tasks set them for models that answer without reasoning:
    16 new tokens are too few for reasoning.
    """

    is_simple = False

    def __init__(
        self,
        *,
        reasoner: Reasoner | None = None,
        returns: str = "answer",
        system_prompt: str | None = None,
        on_error: str = "raise",
        concurrency: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **arguments: Any,
    ) -> None:
        """Create the model without loading anything before the first request.

        Args:
            reasoner: For Python programs, used instead of the run options. The model opens and
                closes it.
            returns: What counts as the response: the final "answer" or the whole "text".
            system_prompt: A text, or a file that contains it. By default `REQUEST`, or none for the
                bundled pair, which was trained on one form only. An empty text removes it.
            on_error: "raise" ends the evaluation with a failed run. "empty" logs the error and
                returns an empty response, which tasks count as wrong.
            concurrency: Questions that run concurrently; the batch size by default.
            batch_size: lmms-eval's flag of this name.
            max_batch_size: lmms-eval's flag of this name; it has no effect.
            device: lmms-eval's flag of this name. Device of the target, and of the draft unless
                `draft_device` is given.
            arguments: Fields of `dreamr.RunOptions`: target, draft, method, threshold, window, ...

        Raises:
            BadOption: If an argument is unknown (the message lists the known ones) or a value is
                out of bounds.
        """
        super().__init__()
        if device is not None:
            arguments["device"] = device
        self._reasoner = reasoner or Reasoner(options_of(arguments))
        self._whole = one_of("returns", returns, ("answer", "text")) == "text"
        self._forgiving = one_of("on_error", on_error, ("raise", "empty")) == "empty"
        self._concurrency = concurrency_of(concurrency, batch_size)
        if system_prompt is None:
            system_prompt = REQUEST if self._reasoner.options.target else ""
        self._system_prompt = self._resolve_system_prompt(system_prompt)
        self._closing: Callable[[], object] | None = None  # set while the models are open
        self._documents = threading.Lock()  # datasets are not thread-safe
        self._warned: set[str] = set()  # tasks

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """Answer each request, `concurrency` of them concurrently.

        Raises:
            DreamrError: If a question is invalid or a run fails, unless `on_error` is "empty".
        """
        self._open()
        with (
            ThreadPoolExecutor(self._concurrency, "dreamr") as threads,
            tqdm(total=len(requests), desc="dreamr", disable=self.rank != 0) as bar,
        ):

            def answer(request: Instance) -> tuple[GenerationResult, float]:
                answered = self._answer(request)
                bar.update()
                return answered

            try:
                answered = list(threads.map(answer, requests))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self._close()  # ends the running requests
                raise
        _report(answered)
        return [result for result, _ in answered]

    def loglikelihood(self, requests: Sequence[Instance]) -> NoReturn:
        """Refuse the requests.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported(
            "dreamr reasons before it answers, so it cannot compute the likelihood of a choice: "
            "choose a task whose output_type is generate_until"
        )

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> NoReturn:
        """Refuse the requests.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported(
            "dreamr supports a single round: choose a task whose output_type is generate_until"
        )

    def clean(self) -> None:
        """Close the models; a later request opens them again."""
        self._close()
        super().clean()

    def _open(self) -> None:
        if self._closing is None:
            stack = ExitStack()
            stack.enter_context(self._reasoner)
            self._closing = weakref.finalize(self, stack.close)  # runs at exit at the latest

    def _close(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            closing()

    def _answer(self, request: Instance) -> tuple[GenerationResult, float]:
        """Return the response and the seconds that it took."""
        if is_budget_exceeded():
            return GenerationResult(BUDGET_EXCEEDED, TokenCounts()), 0.0
        _, doc_to_messages, arguments, doc_id, task, split = request.args
        self._warn_once(task, arguments)
        try:
            with self._documents:
                document = self.task_dict[task][split][doc_id]
                messages = doc_to_messages(document)
            media = self._reasoner.options.media()
            problem = conversation_of(messages, self._system_prompt, media)
            result = self._reasoner.ask(problem)
        except DreamrError as error:
            if not self._forgiving:
                raise
            logger.error(f"{task} {doc_id}: {error}; the response is empty")
            return GenerationResult("", TokenCounts()), 0.0
        log_usage("dreamr", task_name=task, output_tokens=_tokens(result))
        text = cut(result.text if self._whole else result.answer, arguments.get("until"))
        return GenerationResult(text, TokenCounts(output_tokens=_tokens(result))), result.seconds

    def _warn_once(self, task: str, arguments: dict[str, Any]) -> None:
        """Warn once per task about generation arguments that have no effect."""
        ignored = sorted(set(arguments) - set(USED))
        if ignored and task not in self._warned:
            self._warned.add(task)
            logger.warning(
                f"{task}: dreamr ignores the generation arguments {', '.join(ignored)}; "
                "set limits and sampling with --model_args"
            )


def _tokens(result: Result) -> int:
    return sum(committed.step.tokens for committed in result.steps)


def _report(answered: Sequence[tuple[GenerationResult, float]]) -> None:
    """Log the figures that lmms-eval prints with the scores; seconds are summed over questions."""
    seconds = sum(seconds for _, seconds in answered)
    tokens = sum(result.token_counts.output_tokens or 0 for result, _ in answered)
    log_metrics(
        total_elapsed_time=seconds,
        total_gen_tokens=tokens,
        avg_speed=tokens / seconds if seconds else 0.0,
        additional_metrics={"total_requests": len(answered)},
    )
