"""Serving on a socket until a signal."""

from __future__ import annotations

import gc
import math

import anyio
import pytest

from dreamr import Reasoner
from dreamr.serving.gateway import ServedPair, listen, serve
from dreamr.serving.options import ServeOptions
from support.pairs import Pair


class Ready(Exception):
    """Raised when the gateway is ready, which ends it."""


@pytest.mark.parametrize("frozen", [False, True])
def test_old_objects_are_collected_rarely_while_the_gateway_serves(frozen: bool) -> None:
    """A thousand open streams are a million objects; to look at all of them stops every stream."""
    script = ("A thought.\n\n", "Answer: 4")
    common = {"script": script, "opinion": dict.fromkeys(script, 0.9)}
    pair = Pair({"name": "large", **common}, {"name": "small", **common})
    gc.freeze() if frozen else gc.unfreeze()
    options, before = ServeOptions(port=0), gc.get_threshold()
    during = []

    def ready(url: str) -> None:
        during.append((gc.get_threshold(), gc.get_freeze_count()))
        raise Ready

    async def main() -> None:
        async with Reasoner(open_model=pair) as reasoner:
            with listen(options) as link:
                await serve([ServedPair.of("dreamr", reasoner, options)], options, link, ready)

    with pytest.raises(Ready):
        anyio.run(main)
    still = gc.get_freeze_count()
    gc.freeze()  # as before the test
    [(thresholds, count)] = during
    assert math.prod(thresholds) > 50 * math.prod(before)
    assert count > 0
    assert gc.get_threshold() == before
    assert (still > 0) == frozen
