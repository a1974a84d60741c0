"""What a server's metrics tell about its prefix cache."""

from __future__ import annotations

import pytest

from dreamr.engines import Capabilities
from dreamr.engines.http import HttpEngine
from support.served import Served
from support.served_calls import use
from support.window_served import WindowServed

INFO = "vllm:cache_config_info"


def line(**labels: object) -> str:
    return INFO + "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "} 1.0\n"


@pytest.mark.parametrize(
    ("metrics", "block"),
    [
        ("", None),
        ("vllm:num_requests_running 0\n", None),
        (f"# HELP {INFO} Information\n{line(block_size=16, engine=0)}", 16),
        (line(block_size=528, cache_hit_alignment_tokens=None, mamba_block_size=528), 528),
        (line(block_size=1056, cache_hit_alignment_tokens=32), 32),
        (line(enable_prefix_caching="False", block_size=16), 0),
        (line(enable_prefix_caching="True", block_size=16), 16),
        (line(dtype='au\\"to, block_size=7', block_size=32), 32),
        (line(block_size=16) + line(block_size=64), 16),
        (line(block_size="None"), None),
        (line(block_size=0), None),
        (line(block_size="9" * 5000), None),
        (line(block_size="-16"), None),
        (f"{INFO}{{}} 1.0\n", None),
    ],
)
def test_the_block_of_the_prefix_cache_is_read_from_the_metrics(
    metrics: str, block: int | None
) -> None:
    async def work(engine: HttpEngine) -> int | None:
        return engine.capabilities.cache_block

    served = WindowServed(script="Four", metrics=metrics, tokens=False)
    assert use(served, work) == block


def test_a_hybrid_model_has_large_blocks_where_the_server_does_not_tell() -> None:
    async def work(engine: HttpEngine) -> Capabilities:
        return engine.capabilities

    assert use(Served(models=["Qwen/Qwen3.5-4B"], script="Four"), work).coarse_cache
    assert not use(Served(models=["Qwen/Qwen3-VL-4B-Instruct"], script="Four"), work).coarse_cache


@pytest.mark.parametrize(
    ("block", "coarse"), [(None, False), (0, True), (1, False), (64, False), (528, True)]
)
def test_large_blocks_and_no_cache_are_coarse(block: int | None, coarse: bool) -> None:
    assert Capabilities(cache_block=block).coarse_cache is coarse
