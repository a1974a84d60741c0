from __future__ import annotations

import pytest

from dreamr.conversation import Conversation
from dreamr.engines.http import prompt_counts
from dreamr.engines.http.prompt_counts import PromptCounts


def test_the_numbers_of_the_latest_conversations_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_counts, "_KEPT", 2)
    first, second, third = map(Conversation.from_prompt, "abc")
    counts = PromptCounts()
    for conversation, tokens in ((first, 1), (second, 2), (first, 3), (third, 4)):
        counts.keep(conversation, tokens)
    assert [counts.get(one) for one in (first, second, third)] == [3, None, 4]
    counts.clear()
    assert counts.get(first) is None
