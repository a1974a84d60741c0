"""What a pair costs, and whether it is worth it."""

from __future__ import annotations

from dataclasses import dataclass

from dreamr.serving.doctor import fixes
from dreamr.serving.doctor.finding import Finding
from dreamr.serving.doctor.model import ModelUnderTest

ACCEPTANCES = (0.5, 0.7, 0.8, 0.9, 0.95)
TOKEN_SPECULATION = (1.5, 2.5)  # usual factors of trained heads and multi-token prediction
_LIKELY = 0.8  # acceptance that decides
_LEAST_SPEEDUP = 1.2


@dataclass(frozen=True, slots=True)
class PairCosts:
    """Measured costs of a pair, in seconds.

    Attributes:
        draft_token: A token of the draft.
        target_token: A token of the target.
        judge_call: A judge call of one step with its prefix in the cache.
        step_tokens: Length of a step in tokens.

    Raises:
        ValueError: If a token takes no time, a judge call less than none, or a step has no token.
    """

    draft_token: float
    target_token: float
    judge_call: float
    step_tokens: float

    def __post_init__(self) -> None:
        if min(self.draft_token, self.target_token, self.step_tokens) <= 0 or self.judge_call < 0:
            raise ValueError(
                "the times of tokens and the length of a step must be above 0, the time of a judge "
                "call at least 0"
            )

    @property
    def ratio(self) -> float:
        """Time of a drafted token divided by that of a target token."""
        return self.draft_token / self.target_token

    def speedup(self, acceptance: float) -> float:
        """Estimate the speed-up over the target alone.

        Drafting runs beside judging, so an accepted step takes the longer of the two. A rejected
        step takes its drafting, its judging and the target's own step. Times of the two servers are
        taken as independent of each other.

        Args:
            acceptance: Share of accepted steps, in [0, 1].
        """
        alone = self.step_tokens * self.target_token
        drafting = self.step_tokens * self.draft_token
        accepted = max(drafting, self.judge_call)
        rejected = drafting + self.judge_call + alone
        return alone / (acceptance * accepted + (1 - acceptance) * rejected)


def pair_checks(target: ModelUnderTest, draft: ModelUnderTest) -> list[Finding]:
    """Estimate costs and speed-up of the pair from the measurements of both models.

    Args:
        target: Target, after `run_checks`.
        draft: Draft, after `run_checks`.
    """
    if not target.seconds or not draft.seconds:
        return [
            Finding(
                "cost", "unknown", "no estimate: one of the models wrote too few tokens to be timed"
            )
        ]
    if target.judging is None:
        return [Finding("cost", "unknown", "no estimate: no judge call was timed")]
    costs = PairCosts(draft.seconds, target.seconds, target.judging, target.step_tokens)
    return [_cost(costs), _worth(costs)]


def _cost(costs: PairCosts) -> Finding:
    judged = costs.judge_call / costs.target_token
    return Finding(
        "cost",
        "ok",
        f"{costs.draft_token * 1000:.1f} ms a drafted token, {costs.target_token * 1000:.1f} ms a "
        f"target token (ratio {costs.ratio:.2f}), {costs.judge_call * 1000:.0f} ms a judge call "
        f"(as long as {judged:.1f} target tokens; a step has {costs.step_tokens:g})",
        values={
            "draft_token_ms": costs.draft_token * 1000,
            "target_token_ms": costs.target_token * 1000,
            "judge_ms": costs.judge_call * 1000,
            "step_tokens": costs.step_tokens,
            "ratio": costs.ratio,
        },
    )


def _worth(costs: PairCosts) -> Finding:
    gains = {acceptance: costs.speedup(acceptance) for acceptance in ACCEPTANCES}
    low, high = TOKEN_SPECULATION
    listed = ", ".join(f"{gain:.2f} at {share:.0%}" for share, gain in gains.items())
    what = f"expected speed-up over the target alone by accepted steps: {listed}"
    values = {f"speedup_{share:.0%}".rstrip("%"): gain for share, gain in gains.items()}
    fix = fixes.SMALLER_DRAFT.format(low=low, high=high)
    if gains[_LIKELY] < _LEAST_SPEEDUP:
        return Finding("worth it", "degraded", f"hardly worth it here; {what}", fix, dict(values))
    if gains[_LIKELY] < low:
        what += (
            f"; token-level speculation of the target alone (vLLM: --speculative-config) usually "
            f"gives {low:g} to {high:g}, compare both"
        )
    else:
        what += "; the target's own token-level speculation (vLLM: --speculative-config) adds to it"
    return Finding("worth it", "ok", what, None, dict(values))
