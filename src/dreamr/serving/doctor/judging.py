"""Checks of verdicts and log-probabilities."""

from __future__ import annotations

import re
import statistics
import time
from random import Random

from dreamr.conversation import Conversation
from dreamr.engines import Context, SamplingParams
from dreamr.engines.http.evidence_probe import CERTAIN
from dreamr.gate import Evidence
from dreamr.serving.doctor import fixes
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.model import ModelUnderTest

_LEAST_MASS = 0.5  # probability of both labels below which the judge prompt does not work well
_LEAST_DIFFERENCE = 0.2  # of the judge ratios of a right and a wrong step
_TIMED = 5  # judge calls
_SAMPLED = 32  # tokens whose log-probabilities are read
_GUESSES = Conversation.from_prompt("Write ten words at random, one on each line.")


async def check_judging(tested: ModelUnderTest) -> Finding:
    """Judge one of the model's own steps, and the same step with other numbers."""
    about, engine = "judging", tested.model.engine
    if not engine.capabilities.judge:
        problem = engine.capabilities.judge_problem
        return Finding(
            about,
            "wrong",
            f"the model cannot judge: {problem or 'the server returns no token probabilities'}",
            fixes.NO_SPECULATION if problem == CERTAIN else fixes.USE_JUDGING_SERVER,
        )
    number = next(
        (i for i, step in enumerate(tested.steps[:-1]) if re.search(r"\d", step.text)), None
    )
    if number is None:
        return Finding(
            about,
            "unknown",
            "judging was not tried: no step of the answer contains a number that could be changed",
        )
    begun = tuple(step.text for step in tested.steps[:number])
    own = tested.steps[number].text
    context = Context(tested.talk, begun)
    [right] = await engine.judge(context, [own])
    [wrong] = await engine.judge(context, [_other_numbers(own)])
    tested.judging = await _call_seconds(tested)
    return _judged(about, right, wrong, _reading(tested), engine.capabilities.min_label_mass)


def _reading(tested: ModelUnderTest) -> str:
    """Return a remark if a label that is not among the most likely tokens counts as impossible."""
    if tested.http is None or not (info := tested.http.server_info).refuses_chosen_tokens:
        return ""
    return (
        f"; labels are read from the {info.server.tops} most likely tokens, since the server "
        "refuses chosen ones, as vLLM does with n-gram speculation"
    )


def _judged(
    about: str, right: Evidence, wrong: Evidence, reading: str, least_mass: float
) -> Finding:
    mass = min(right.mass, wrong.mass)
    tops = {right.top_label, wrong.top_label}
    likeliest = None if None in tops else tops == {True}
    seen = (
        f"judge ratio {right.ratio:.2f} for the model's own step, {wrong.ratio:.2f} for the same "
        f"step with other numbers; {mass:.0%} of the probability on the labels"
    )
    values = {
        "right": right.ratio,
        "wrong": wrong.ratio,
        "label_mass": mass,
        "likeliest_is_label": likeliest,
    }
    if mass < _LEAST_MASS:
        rejected = ", and steps with so little count as rejected" if mass < least_mass else ""
        return Finding(
            about,
            "degraded",
            f"{seen}{reading}: the model would rather answer something else{rejected}",
            fixes.OTHER_PROMPT,
            values,
        )
    if likeliest is False:
        return Finding(
            about,
            "degraded",
            f"{seen}{reading}, but the most likely token is not a label",
            fixes.OTHER_PROMPT,
            values,
        )
    if right.ratio - wrong.ratio < _LEAST_DIFFERENCE:
        return Finding(
            about,
            "degraded",
            f"{seen}{reading}; the model hardly distinguishes right from wrong steps",
            fixes.OTHER_PROMPT_OR_TARGET,
            values,
        )
    label = ", and the likeliest token is a label" if likeliest else ""
    return Finding(about, "ok", f"{seen}{label}{reading}", values=values)


async def _call_seconds(tested: ModelUnderTest) -> float:
    """Return the median time of judge calls of one step, each after the steps before it."""
    texts = [step.text for step in tested.steps[:-1]][:_TIMED]
    times = []
    for place, text in enumerate(texts):
        began = time.perf_counter()
        await tested.model.engine.judge(Context(tested.talk, tuple(texts[:place])), [text])
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _other_numbers(text: str) -> str:
    rng = Random(0)

    def other(found: re.Match[str]) -> str:
        digit = found.group()
        return rng.choice([each for each in "0123456789" if each != digit])

    return re.sub(r"\d", other, text)


async def check_window(tested: ModelUnderTest) -> Finding:
    """Report whether a window is judged in one request, which the first contact has tried."""
    about, engine = "window", tested.http
    if engine is None:
        return Finding(about, "ok", "not tried: the local engine judges a window in one pass")
    info, able = engine.server_info, engine.capabilities
    values = {"difference": info.window_difference}
    if info.window is not None:
        what = (
            "several steps can be judged in one request; its verdicts differ by at most "
            f"{info.window_difference or 0:.2f} from those of single requests"
        )
        return Finding(about, "ok", what, values=values)
    why = f": {info.window_problem}" if info.window_problem else ""
    what = f"each step is judged by a request of its own{why}"
    if not able.coarse_cache:  # nothing is lost
        return Finding(about, "ok", what, values=values)
    compared = info.window_difference is not None
    fix = fixes.OTHER_TARGET_FOR_WINDOWS if compared else fixes.COARSE_BLOCKS
    return Finding(about, "degraded", what, fix, values)


async def check_logprobs(tested: ModelUnderTest) -> Finding:
    """Read the log-probabilities of sampled tokens: not all of them can be certain."""
    about, engine = "log-probabilities", tested.model.engine
    if tested.http is not None and tested.http.server_info.speculates:
        return Finding(
            about,
            "degraded",
            "the server decodes speculatively and then reports no log-probabilities of guessed "
            "tokens, so the confidence of the model is unknown",
            fixes.NO_SPECULATION,
        )
    if not engine.capabilities.logprobs:
        return Finding(
            about, "unknown", "the server returns no log-probabilities of the tokens that it writes"
        )
    sampling = SamplingParams(max_tokens=_SAMPLED, temperature=1.0, logprobs=True)
    found = [chunk.logprob async for chunk in engine.stream(Context(_GUESSES), sampling)]
    known = [value for value in found if value is not None]
    if not known:
        return Finding(about, "unknown", f"none came with {len(found)} pieces of a stream")
    if len(known) > 1 and all(value == 0.0 for value in known):
        return Finding(
            about,
            "wrong",
            f"all {len(known)} tokens drawn at temperature 1 have log-probability 0, that is "
            "certainty: verdicts and confidences are meaningless",
            fixes.NO_SPECULATION,
            {"mean": 0.0},
        )
    mean = statistics.fmean(known)
    return Finding(
        about,
        "ok",
        f"{len(known)} tokens drawn at temperature 1 have log-probabilities, {mean:.2f} on average",
        values={"mean": mean},
    )
