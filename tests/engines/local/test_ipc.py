"""Messages arrive whole and in order, however the bytes are split."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dreamr.engines.local.ipc import Frames, Piece, Taken, pack

MESSAGES = st.lists(
    st.one_of(
        st.builds(Taken, st.integers(0, 99), st.integers(0, 99)),
        st.builds(
            Piece,
            call=st.integers(0, 99),
            text=st.text(),
            tokens=st.just(1),
            finish=st.none(),
            logprob=st.none() | st.floats(max_value=0),
            min_logprob=st.none() | st.floats(max_value=0),
            entropy=st.none() | st.floats(min_value=0),
        ),
        st.binary(max_size=300),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 60)))
def test_any_split_of_the_bytes_gives_the_same_messages(
    messages: list[object], cuts: list[int]
) -> None:
    data = b"".join(map(pack, messages))
    frames, got = Frames(), []
    for cut in [*cuts, len(data)]:
        got += frames.feed(data[:cut])
        data = data[cut:]
    assert got == messages
