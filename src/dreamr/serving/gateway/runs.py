"""Runs of requests: admission, attachments, load control and failures."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio

from dreamr._concurrency import gather_bounded
from dreamr._load import JudgeTimes, Level, Shaped
from dreamr._options import RunOptions
from dreamr.conversation import Conversation, flatten
from dreamr.errors import DeadlinePassed, DreamrError, RunFailed
from dreamr.runner import RunHook, view_of
from dreamr.serving.drift import Watch
from dreamr.serving.gateway.admission import Admission
from dreamr.serving.gateway.apis.choices import merged
from dreamr.serving.gateway.errors import ApiError, api_error, timed_out
from dreamr.serving.gateway.job import Job
from dreamr.serving.gateway.logs import LOG, log
from dreamr.serving.gateway.media import MediaFetcher
from dreamr.serving.gateway.memory import Retention
from dreamr.serving.gateway.metrics import PairMetrics
from dreamr.serving.gateway.open_runs import OpenRuns
from dreamr.serving.gateway.public_text import PublicText
from dreamr.serving.gateway.request_ids import request_id, session_id
from dreamr.serving.gateway.served_pair import ServedPair
from dreamr.serving.tuning import Tuner
from dreamr.steps import Role
from dreamr.trace import Result, RunFinished

_LEAST_SECONDS = 0.001  # of a deadline
_LATE_SECONDS = 1.0  # after the deadline, in which a run that ends by itself may still end
_COUNT_SECONDS = 5.0  # time limit for counting the tokens of a prompt


@dataclass(frozen=True, slots=True)
class Shared:
    """What the runs of all pairs share.

    Attributes:
        admission: Admission control.
        media: Reads the attachments of requests.
        public: Takes the locations of all models out of texts.
        hooks: Hooks of all runs.
        open_runs: Counts open runs by model.
    """

    admission: Admission
    media: MediaFetcher
    public: PublicText
    hooks: Sequence[RunHook] = ()
    open_runs: OpenRuns = field(default_factory=OpenRuns)


class Runs:
    """Runs the requests of all endpoints for one pair.

    Args:
        pair: The pair.
        shared: What all pairs share.
        metrics: Metrics of the pair.
        watch: Audits accepted steps, if configured.
        tuner: Chooses window, fallback and resamples, if configured.

    Attributes:
        pair: The pair.
        metrics: Metrics of the pair.
        public: Takes the locations of all models out of texts.
        watch: Audits accepted steps, if configured.
        tuner: Chooses window, fallback and resamples, if configured.
    """

    def __init__(
        self,
        pair: ServedPair,
        shared: Shared,
        metrics: PairMetrics,
        watch: Watch | None = None,
        tuner: Tuner | None = None,
    ) -> None:
        self.pair, self.metrics, self.public, self.watch = pair, metrics, shared.public, watch
        self._reasoner, self._load = pair.reasoner, pair.load
        self._admission, self._media = shared.admission, shared.media
        self._open_runs, self._more, self.tuner = shared.open_runs, shared.hooks, tuner
        self._retention = Retention(pair.reasoner)
        options = pair.reasoner.options
        self._locations = {role: options.source(role).location for role in options.roles}

    async def run(self, job: Job) -> None:
        """Wait for a place and run; events and errors go to the job's queue."""
        try:
            left = job.began + job.parsed.deadline - time.perf_counter()
            with anyio.move_on_after(max(0.0, left)) as scope:
                async with self._admission.place(
                    job.client.name, job.client.priority, patient=job.patient
                ):
                    conversation = await self._decode(job)
                    with self._retention.running(*self._views(job)) as changed:
                        job.on_heard = lambda: changed(*self._views(job))
                        job.left = max(_LEAST_SECONDS, scope.deadline - anyio.current_time())
                        scope.deadline += _LATE_SECONDS
                        await self._reason(job, conversation)
            if scope.cancelled_caught:
                job.pieces.put(timed_out(job.parsed.deadline))
        except DeadlinePassed as error:
            more = isinstance(error.result, Result) and job.summary.of(error.result)
            job.pieces.put(timed_out(job.parsed.deadline, {"dreamr": more} if more else {}))
        except RunFailed as error:
            job.pieces.put(await self._failed(job, error))
        except Exception as error:
            found = public_error(error, self.public)
            if found.status >= 500 and not isinstance(error, DreamrError):
                LOG.exception("internal error")
            job.pieces.put(found)

    async def count(self, job: Job) -> int:
        """Wait for a place and count the tokens of a prompt.

        Raises:
            ApiError: If an attachment cannot be read, or there is no time left.
            DreamrError: If the model fails.
        """
        left = job.began + job.parsed.deadline - time.perf_counter()
        try:
            with anyio.fail_after(max(0.0, left)):
                async with self._admission.place(job.client.name, job.client.priority):
                    await self._decode(job)
                    views = self._views(job)
                    with self._retention.running(*views):
                        found: int = await self._leading.count(views[0])
        except TimeoutError as error:
            raise timed_out(job.parsed.deadline) from error
        job.quota.spend(found)
        return found

    async def _decode(self, job: Job) -> Conversation:
        """Read the attachments of an admitted request, and free what they came in."""
        media = job.parsed.options.media(self._reasoner.models.image_pixels)
        await job.lease.take_pixels(self._media.pixels(job.messages, media))
        salt = job.client.cache_salt
        tools = job.parsed.tools
        conversation = await self._media.decode(job.messages, media, salt, tools)
        job.take(conversation)
        images = flatten(conversation).images
        job.lease.keep_pixels(sum(image.width * image.height for image in images))
        job.lease.give_body()
        return conversation

    async def _reason(self, job: Job, conversation: Conversation) -> None:
        draft_lost = "draft" in self._reasoner.models.lost
        usual = job.parsed.options
        locations = {self._locations[role] for role in usual.roles}
        with (
            self._open_runs.run(locations, job.parsed.choices) as concurrency,
            self._load.run(
                usual,
                draft_lost=draft_lost,
                concurrency=concurrency,
                coarse_cache=self._leading.capabilities.coarse_cache,
            ) as shaped,
        ):
            job.summary.level = shaped.level
            # The times of a run that continues another are those of its end only.
            hooks = [] if job.committed else self._hooks(usual, shaped.level)
            run = partial(self._measured, job, conversation, shaped, hooks)
            choices = job.parsed.choices
            if choices == 1:
                await run(None)
                return
            results = await gather_bounded(range(choices), run, choices)
            job.summary.choices = tuple(results)
            result = merged(results)
            job.on_event(RunFinished(result.seconds, result))

    async def _measured(
        self,
        job: Job,
        conversation: Conversation,
        shaped: Shaped,
        hooks: list[RunHook],
        choice: int | None,
    ) -> Result:
        """Run once, and record what the run took, finished or not.

        Args:
            job: The request.
            conversation: Its messages.
            shaped: The run as load control adapts it.
            hooks: Hooks of the run.
            choice: Number of the run, if the request has several: each has a seed of its own.
        """
        options = shaped.options
        seed = (options.seed + (choice or 0)) % 2**63
        auditing = self.watch is not None and not self.watch.idle
        result = None
        try:
            result = await self._reasoner.reason(
                conversation,
                # Shaped by the load of all requests.
                options=replace(options, load_aware=False, seed=seed),
                on_event=partial(job.on_event, choice=choice),
                hooks=hooks,
                deadline=job.left,
                priority=job.client.priority,
                request_id=request_id(),
                cache_salt=job.client.cache_salt,
                session=session_id(),
                answer_form=job.parsed.form,
                committed=job.committed,
            )
            return result
        except RunFailed as error:
            result = error.result if isinstance(error.result, Result) else None
            raise
        finally:
            if result is not None:
                self.metrics.ran(result)
                if not job.committed:
                    shaped.learn(result, undisturbed=not auditing)

    def _hooks(self, options: RunOptions, level: Level) -> list[RunHook]:
        tuner = self.tuner if self._may_tune(options, level) else None
        hooks = (self.watch, tuner, JudgeTimes(self._load))
        return [*(hook for hook in hooks if hook is not None), *self._more]

    def _may_tune(self, options: RunOptions, level: Level) -> bool:
        """Return whether the tuner may set window, fallback and resamples."""
        usual = self._reasoner.options
        unchanged = all(
            getattr(options, name) == getattr(usual, name)
            for name in ("window", "fallback", "resamples", "deterministic")
        )
        return level is Level.FULL and unchanged

    async def _failed(self, job: Job, error: RunFailed) -> ApiError:
        """Convert the failure of a run; a prompt that is too long is the client's error."""
        found = public_error(error, self.public)
        if error.lost:
            found.status, found.code = 503, "engine_lost"
            found.headers = {"Retry-After": str(self._retry_after())}
        elif job.conversation is not None:
            try:
                with anyio.move_on_after(_COUNT_SECONDS):
                    await self._leading.count(self._views(job)[0])
            except DreamrError as cause:
                if (known := public_error(cause, self.public)).status < 500:
                    return known
        if isinstance(error.result, Result):
            found.more = {"dreamr": job.summary.of(error.result)}
        return found

    def _retry_after(self) -> int:
        """Return the seconds after which a lost model may be open again."""
        models = self._reasoner.models
        return max(1, *(math.ceil(models.retry_after(role) or 0) for role in models))

    def _views(self, job: Job) -> list[Conversation]:
        """Return the conversation of a job as each model gets it, the leading one first."""
        written = job.written
        assert written is not None
        models, options = self._reasoner.models, job.parsed.options
        roles: list[Role] = ["target", "draft"] if "target" in models else ["draft"]
        return [view_of(role, written, options) for role in roles]

    @property
    def _leading(self) -> Any:
        models = self._reasoner.models
        return models["target" if "target" in models else "draft"].engine

    async def prompt_tokens(self, job: Job) -> int:
        """Count the prompt tokens of the conversation; 0 if that fails."""
        if job.conversation is None:
            return 0
        try:
            with anyio.fail_after(_COUNT_SECONDS):
                count: int = await self._leading.count(self._views(job)[0])
        except (DreamrError, TimeoutError) as error:  # return the answer all the same
            log(logging.WARNING, "could not count the prompt tokens: %s", error)
            return 0
        job.quota.spend(count)
        return count


def public_error(error: Exception, public: PublicText) -> ApiError:
    """Convert an error to a response, and log the details that clients do not see.

    Args:
        error: What a request failed with.
        public: Takes the locations of models out of its message.
    """
    found = api_error(error)
    if found is error:
        return found
    message = public.text(found.message)
    if isinstance(error, DreamrError) and (found.status >= 500 or message != found.message):
        log(logging.WARNING, "request failed: %s", error)
    return replace(found, message=message)
