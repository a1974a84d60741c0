"""Answers in a format: masks over the vocabulary, by llguidance."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from dreamr._messages import one_line
from dreamr.answers import AnswerFormat, Choice, Grammar, JsonObject, JsonSchema, Regex
from dreamr.engines.local.tool_calls import CALL, CALLED, CallChoice, Wanted
from dreamr.errors import Unsupported

_IN_SLASHES = re.compile(r"\\.|[/\n]", re.DOTALL)  # what a regular expression in Lark escapes
_PLACE = re.compile(r"^at \d+\(\d+\): ")  # in a grammar that the caller has not written
# JSON as models write it; with any white space, small models fill it until they are cut.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Constraint:
    """Keeps one answer in its format.

    Args:
        matcher: A matcher of llguidance.
    """

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (vocabulary,), in which tokens outside the format have no mass."""
        packed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed = np.zeros(len(logits), np.bool_)
        known = np.unpackbits(packed, bitorder="little")[: len(logits)]
        allowed[: len(known)] = known
        mask = torch.from_numpy(allowed).to(logits.device)
        return logits.masked_fill(~mask, float("-inf"))

    def push(self, token: int) -> bool:
        """Take a token, and return whether nothing can follow it.

        Raises:
            Unsupported: If the format is too complex.
        """
        self._matcher.consume_token(token)
        if self._matcher.is_error():
            why = one_line(self._matcher.get_error())
            raise Unsupported(f"the format of the answer cannot be followed: {why}")
        return bool(self._matcher.is_stopped())


class Constraints:
    """Makes constraints for one tokenizer.

    Args:
        tokenizer: The fast tokenizer, as JSON.
        ends: Ids of the tokens that end an answer.
    """

    def __init__(self, tokenizer: str, ends: Collection[int]) -> None:
        self._json, self._ends = tokenizer, sorted(ends)
        self._tokenizer: Any = None  # made once it is needed

    def constraint(self, wanted: Wanted) -> Constraint:
        """Return the constraint of an answer.

        Args:
            wanted: What the answer must keep to.

        Raises:
            Unsupported: If llguidance cannot follow the format.
        """
        from llguidance import LLMatcher, LLTokenizer

        if self._tokenizer is None:
            self._tokenizer = LLTokenizer(self._json, eos_token=self._ends)
        grammar = _grammar(wanted.format, wanted.calls)
        if problem := LLMatcher.validate_grammar(grammar, self._tokenizer):
            why = one_line(_PLACE.sub("", problem.partition("\n")[0]))
            raise Unsupported(f"the format of the answer is not supported: {why}")
        return Constraint(LLMatcher(self._tokenizer, grammar, log_level=0))


def _grammar(format_: AnswerFormat | None, calls: CallChoice | None) -> str:
    """Return the grammar of an answer in Lark's notation, as llguidance reads it."""
    if isinstance(format_, Grammar) and calls is None:
        return format_.rules
    ways, rules = [], []
    if calls is not None:
        more = f' ("\\n" call){{0,{calls.most - 1}}}' if calls.most > 1 else ""
        ways.append(f"call{more}")
        rules += _call_rules(calls)
    if format_ is not None:
        ways.append(_text(format_))
    return "\n".join([f"start: {' | '.join(ways)}", *rules])


def _text(format_: AnswerFormat) -> str:
    match format_:
        case JsonObject():
            return _json({"type": "object"})
        case JsonSchema(schema=text):
            return _json(json.loads(text))
        case Regex(pattern=pattern):
            return f"/{_IN_SLASHES.sub(_escaped, pattern)}/"
        case Choice(options=options):
            return " | ".join(map(json.dumps, options))
        case Grammar():
            raise Unsupported("a grammar beside tools is not supported: use tool_choice none")


def _escaped(found: re.Match[str]) -> str:
    return {"/": "\\/", "\n": "\\n"}.get(found[0], found[0])


def _json(schema: Any) -> str:
    given = schema if isinstance(schema, dict) else {} if schema else {"not": {}}
    return f"%json {json.dumps({**given, 'x-guidance': _SPACING})}"


def _call_rules(calls: CallChoice) -> list[str]:
    rules = []
    for number, (name, schema) in enumerate(calls.tools):
        head = f'{CALL}\n{{"name": {json.dumps(name)}, "arguments": '
        arguments = {"type": "object", **json.loads(schema)}
        parts = json.dumps(head), _json(arguments), json.dumps(f"}}\n{CALLED}")
        rules.append(f"call_{number}: {' '.join(parts)}")
    names = " | ".join(f"call_{number}" for number in range(len(calls.tools)))
    return [f"call: {names}", *rules]
