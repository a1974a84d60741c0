"""Count the requests and bytes of a run over HTTP, by method.

    python benchmarks/traffic.py --target http://gpu:8000/v1 --draft http://gpu:8001/v1

Each method solves the same problems of the installed suites, one at a time. Counted are the HTTP
requests of a run and the bytes of their bodies, without the requests of each server's probe. The
clients of a method have sent no image before.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2

from dreamr import RunOptions
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.evaluation.bench import PRESETS
from dreamr.evaluation.bench.presets import Preset
from dreamr.evaluation.tasks import Item, default_tasks, load
from dreamr.runner import run
from dreamr.tooling import provenance

METHODS = ("target", "draft", "lookahead-4", "parse", "sequential", "fpsr")


@dataclass(slots=True)
class Counting(httpx2.AsyncBaseTransport):
    """A transport that counts what it sends and receives.

    Attributes:
        inner: The transport that sends.
        requests: Number of requests.
        sent: Bytes of their bodies.
    """

    inner: httpx2.AsyncBaseTransport
    requests: int = 0
    sent: int = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Count a request and send it."""
        self.requests += 1
        self.sent += int(request.headers.get("Content-Length", 0))
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport that sends."""
        await self.inner.aclose()


async def count(
    urls: dict[str, str], items: Sequence[Item], preset: Preset
) -> dict[str, tuple[int, int]]:
    """Return the requests and bytes to each server for all items, over new clients."""
    transports = {role: Counting(httpx2.AsyncHTTPTransport()) for role in urls}
    config = preset.options(RunOptions(**urls)).run_config()
    async with (
        HttpEngine(HttpOptions(urls["draft"]), transports["draft"]) as draft,
        HttpEngine(HttpOptions(urls["target"]), transports["target"]) as target,
    ):
        for transport in transports.values():
            transport.requests = transport.sent = 0
        for item in items:
            await run(item.conversation, target=target, draft=draft, config=config)
        return {role: (counted.requests, counted.sent) for role, counted in transports.items()}


def measure(urls: dict[str, str], methods: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Return the mean requests and bytes of a run, for each suite and method."""
    rows = []
    for task in default_tasks():
        items = list(load(task, limit=limit))
        for method in methods:
            row: dict[str, Any] = {"task": task, "method": method, "problems": len(items)}
            for role, (requests, sent) in anyio.run(count, urls, items, PRESETS[method]).items():
                row[f"{role} requests"] = requests / len(items)
                row[f"{role} bytes"] = sent / len(items)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, help="URL of the target")
    parser.add_argument("--draft", required=True, help="URL of the draft")
    parser.add_argument("--method", action="append", help="default: the methods of a bench")
    parser.add_argument("--limit", type=int, default=20, help="problems of each suite")
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    urls = {"target": options.target, "draft": options.draft}
    rows = measure(urls, options.method or METHODS, options.limit)
    for row in rows:
        print(
            f"{row['task']:10}{row['method']:14}target {row['target requests']:5.1f} requests "
            f"{row['target bytes'] / 1e3:7.1f} kB   draft {row['draft requests']:5.1f} requests "
            f"{row['draft bytes'] / 1e3:7.1f} kB"
        )
    if options.out:
        content = {"provenance": provenance(), "rows": rows}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
