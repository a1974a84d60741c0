"""The gateway's image has the packages of all that a pair file can ask of it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# What the gateway imports, also on demand.
GATEWAY = ("cli/serve.py", "conversation", "serving/gateway", "serving/spans", "serving/store")


def sources(place: str) -> list[Path]:
    found = ROOT / "src" / "dreamr" / place
    if found.is_dir():
        return sorted(found.rglob("*.py"))
    return [found if found.suffix else found.with_suffix(".py")]


def test_no_message_of_the_gateway_asks_for_a_package_that_its_image_lacks() -> None:
    texts = [path.read_text(encoding="utf-8") for place in GATEWAY for path in sources(place)]
    asked = {extra for text in texts for extra in re.findall(r"['\"]dreamr\[(\w+)\]", text)}
    script = (ROOT / "scripts" / "build-image").read_text(encoding="utf-8")
    (built,) = re.findall(r'"\$root\[([\w,]+)\]"', script)
    assert {"serve", "redis", "media", "otel"} <= asked
    assert asked <= set(built.split(","))
