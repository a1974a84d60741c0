"""How a model at a server is opened."""

from __future__ import annotations

import anyio
import pytest

from dreamr.engines import ModelSource, open_model
from dreamr.steps import Role
from support.sockets import on_socket
from support.window_served import WindowServed


@pytest.mark.parametrize(
    ("role", "block", "longer"),
    [("target", 528, True), ("target", 16, False), ("draft", 528, False)],
)
def test_steps_are_longer_where_the_target_reuses_prefixes_in_large_blocks(
    role: Role, block: int, longer: bool
) -> None:
    async def main(url: str) -> int:
        model = await open_model(ModelSource(role=role, name=url))
        await model.engine.aclose()
        return model.step_format.min_tokens

    metrics = f'vllm:cache_config_info{{block_size="{block}"}} 1.0\n'
    with on_socket(WindowServed(script="Four", metrics=metrics)) as url:
        assert (anyio.run(main, url) >= 32) is longer
