"""TRL's GRPO trainer with rewards from the target's verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import torch
from accelerate.utils import gather
from trl import GRPOTrainer

from dreamr.steps import StepFormat, StepSplitter
from dreamr.training.credit import BY_STEP, credits, spread
from dreamr.training.errors import BadTraining
from dreamr.training.grader import Completion
from dreamr.training.problems import Problems
from dreamr.training.rewards import Scheme
from dreamr.training.rollout import Rollout, cut, figures
from dreamr.training.trl import Resumes

_SAME = 1e-9  # rewards that differ by less count as equal

Grade = Callable[[Sequence[Completion]], list[Rollout]]


class SapoTrainer(Resumes, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPO trainer with rewards from the target's verdicts.

    The target grades a batch once and all reward terms are computed from that. With
    `step_credit`, the advantage of a token is the advantage of its completion for all terms except
    'draft' and 'places', plus the advantage of its step from `dreamr.training.credit`.

    Args:
        problems: Problems; rows of the dataset hold their numbers.
        grade: Function that grades completions with the target and keeps their order.
        scheme: Reward terms and weights.
        texts: `Texts` of the draft's tokenizer.
        step_format: Step delimiter and answer marker.
        step_credit: Whether the terms 'draft' and 'places' are credited to single steps.
        **trl: Arguments of `GRPOTrainer`.
    """

    def __init__(
        self,
        *,
        problems: Problems,
        grade: Grade,
        scheme: Scheme,
        texts: Any,
        step_format: StepFormat,
        step_credit: bool = False,
        **trl: Any,
    ) -> None:
        self._problems, self._grade, self._scheme = problems, grade, scheme
        self._texts, self._step_format, self._step_credit = texts, step_format, step_credit
        self._credits: list[list[float]] = []  # per completion, one value per token
        # TRL needs functions only for their names; `_calculate_rewards` computes the values.
        super().__init__(reward_funcs=[_named(name) for name in scheme.weights], **trl)
        by_step = BY_STEP if step_credit else ()
        self.reward_weights = torch.tensor(
            [0.0 if name in by_step else weight for name, weight in scheme.weights.items()]
        )

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        size = self.num_generations
        if len(inputs) % size:
            raise BadTraining(
                f"each process generates {len(inputs)} completions at a time, which must be a "
                f"multiple of --group ({size}): change --batch or the number of processes"
            )
        numbers = [row["number"] for row in inputs]
        pairs = zip(numbers, completion_ids_list, strict=True)
        rollouts = self._grade([self._completion(number, ids) for number, ids in pairs])
        groups = [rollouts[at : at + size] for at in range(0, len(rollouts), size)]
        terms: list[dict[str, float]] = []
        self._credits, silent = [], 0
        for group in groups:
            found = [self._scheme.terms(one, group) for one in group]
            earned = credits(group, self._scheme) if self._step_credit else [[]] * size
            totals = list(map(self._scheme.total, found))
            alike = all(abs(value) < _SAME for values in earned for value in values)
            silent += alike and max(totals) - min(totals) < _SAME
            terms += found
            self._credits += [
                spread(one, values, one.tokens) for one, values in zip(group, earned, strict=True)
            ]
        known = {"worth": fmean(map(self._scheme.total, terms)), "no_signal": silent / len(groups)}
        for name, value in {**known, **figures(rollouts)}.items():
            self._log_metric(name, value)  # TRL averages over all processes
        device = self.accelerator.device
        if self.state.global_step == 0:
            self._check_signal(gather(torch.tensor([known["no_signal"]], device=device)))
        table = [[row[name] for name in self._scheme.weights] for row in terms]
        rewards: torch.Tensor = gather(torch.tensor(table, dtype=torch.float32, device=device))
        return rewards

    def _check_signal(self, silent: torch.Tensor) -> None:
        """Raise an error if no group of the first batch has rewards that differ."""
        if silent.min() == 1:
            raise BadTraining(
                "all completions of each problem earn the same reward, so there is nothing to "
                "learn: raise --temperature or --group, or choose problems that are neither too "
                "easy nor too hard"
            )

    def _completion(self, number: int, ids: Sequence[int]) -> Completion:
        finished = bool(ids) and ids[-1] in self.eos_token_ids
        splitter = StepSplitter(self._step_format)
        body = ids[:-1] if finished else ids
        steps = cut(body, self._texts, splitter, truncated=not finished)
        return Completion(self._problems[number], tuple(steps), len(ids), finished)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._step_credit:
            ids, own = output["completion_ids"], output["advantages"]
            moved = torch.zeros(ids.shape, dtype=own.dtype)
            for row, values in zip(moved, self._credits, strict=True):
                row[: len(values)] = torch.tensor(values)
            output["advantages"] = own[:, None] + moved.to(own.device)
        return output


def _named(name: str) -> Callable[..., list[float]]:
    def term(**_: Any) -> list[float]:
        raise AssertionError("terms are computed together")

    term.__name__ = name
    return term
