"""Documents, videos and sounds in a run: what each model gets of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dreamr.conversation import Conversation, Text
from dreamr.engines import Capabilities, Context, SamplingParams, ScriptedEngine
from dreamr.errors import Unsupported
from support.attachments import asked, document, kinds, sound, video
from support.runs import DRAFT, METHODS, OPINION, TARGET, draft, go, notes, target, texts
from support.videos import clip


class Watched(ScriptedEngine):
    """An engine that notes the conversations of its calls."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seen: set[Conversation] = set()

    def stream(self, context: Context, sampling: SamplingParams) -> Any:
        self.seen.add(context.conversation)
        return super().stream(context, sampling)

    async def judge(self, context: Context, candidates: Sequence[str], *query: Any) -> Any:
        self.seen.add(context.conversation)
        return await super().judge(context, candidates, *query)


def watched() -> tuple[Watched, Watched]:
    big = Watched(script=TARGET, opinion=OPINION, name="big")
    return big, Watched(script=DRAFT, name="small")


@pytest.mark.parametrize("method", METHODS)
def test_engines_get_texts_images_and_sounds_only(method: str) -> None:
    big, small = watched()
    problem = asked(document(2, 5), video(2, sound=sound()))
    result = go(big, small, method, conversation=problem)
    assert result.complete
    for engine in (big, small):
        [seen] = engine.seen
        assert kinds(seen) == [
            "Text", "Image", "Text", "Image", "Text", "Image", "Text", "Image", "Audio", "Text",
        ]  # fmt: skip
        said = [part.text for part in seen.turns[-1].parts if isinstance(part, Text)]
        assert said[0] == "bill.pdf:\nPage 2:\n"


@pytest.mark.parametrize("method", METHODS)
def test_the_draft_can_see_fewer_frames_than_the_target(method: str) -> None:
    big, small = watched()
    go(big, small, method, conversation=asked(video(7)), draft_frames=3)
    assert [len(seen.images) for seen in big.seen] == [7]
    assert [len(seen.images) for seen in small.seen] == [3]


@pytest.mark.parametrize(
    ("native", "big_gets", "small_gets"),
    [
        ("off", ["Text", "Image", "Text", "Image", "Audio", "Text"], None),
        ("target", ["VideoFile", "Audio", "Text"], ["Text", "Image", "Audio", "Text"]),
        ("both", ["VideoFile", "Audio", "Text"], ["VideoFile", "Audio", "Text"]),
    ],
)
def test_the_file_of_a_video_reaches_the_models_that_are_to_get_it(
    native: Any, big_gets: list[str], small_gets: list[str] | None
) -> None:
    big, small = watched()
    problem = asked(video(2, sound=sound(), file=clip()))
    more = {} if native == "off" else {"draft_frames": 1}
    result = go(big, small, conversation=problem, native_video=native, **more)
    assert result.complete
    assert [kinds(seen) for seen in big.seen] == [big_gets]
    assert [kinds(seen) for seen in small.seen] == [small_gets or big_gets]


def test_a_video_without_its_file_becomes_frames_in_any_case() -> None:
    big, small = watched()
    go(big, small, conversation=asked(video(2)), native_video="both")
    assert {len(seen.images) for engine in (big, small) for seen in engine.seen} == {2}


def test_a_model_that_takes_no_video_file_refuses_it_before_it_begins() -> None:
    blind = Capabilities(watches=False, watching_problem="it takes frames")
    problem = asked(video(2, file=clip()))
    for big, small, message in (
        (target(capabilities=blind), draft(), r"the target .*: leave out --native-video"),
        (target(), draft(capabilities=blind), r"the draft .*: use --native-video target, or leave"),
    ):
        with pytest.raises(Unsupported, match=rf"{message}") as caught:
            go(big, small, conversation=problem, native_video="both")
        assert "takes no video files (it takes frames)" in str(caught.value)
        assert big.streams == small.streams == 0
    blind_draft = draft(capabilities=blind)
    assert go(target(), blind_draft, conversation=problem, native_video="target").complete


def test_a_conversation_without_documents_and_videos_reaches_the_engines_as_it_is() -> None:
    big, small = watched()
    problem = asked(sound())
    go(big, small, conversation=problem, draft_frames=1)
    seen = [*big.seen, *small.seen]
    assert seen
    assert all(one is problem for one in seen)


def test_a_target_that_reads_one_image_refuses_more_before_it_begins() -> None:
    one = Capabilities(max_images=1)
    for problem in (asked(document(1, 2)), asked(video(2)), asked(document(1), video(1))):
        big = target(capabilities=one)
        with pytest.raises(
            Unsupported, match=r"reads 1 image, the problem has 2 .*--pages"
        ) as found:
            go(big, draft(), conversation=problem)
        assert "dreamr.pages or dreamr.frames" in str(found.value)  # for clients over HTTP
        assert big.streams == big.judgments == 0
    assert go(target(capabilities=one), draft(), conversation=asked(document(4))).complete


def test_a_draft_that_reads_one_image_leaves_more_to_the_target() -> None:
    result = go(
        target(), draft(capabilities=Capabilities(max_images=1)), conversation=asked(video(3))
    )
    assert texts(result) == TARGET
    assert "reads 1 image, the problem has 3" in notes(result)


def test_a_draft_that_reads_one_image_is_used_if_it_sees_one_frame() -> None:
    result = go(
        target(),
        draft(capabilities=Capabilities(max_images=1)),
        conversation=asked(video(3)),
        draft_frames=1,
    )
    assert "reads 1 image" not in notes(result)
    assert texts(result)[0] == DRAFT[0]


def test_pages_count_as_a_long_prompt() -> None:
    """A long prompt is computed by the target while the draft writes its first step."""
    from dreamr.runner.runs import _prompt_tokens

    problem = asked(document(1, 2, 3, text="word " * 400))
    assert _prompt_tokens(problem) < 256 < _prompt_tokens(flat(problem))


def flat(problem: Conversation) -> Conversation:
    from dreamr.conversation import flatten

    return flatten(problem)


def test_a_long_sound_counts_as_a_long_prompt() -> None:
    from dreamr.runner.runs import _prompt_tokens
    from support.sounds import sound as tone

    assert _prompt_tokens(asked(tone(seconds=1))) < 256 < _prompt_tokens(asked(tone(seconds=20)))
