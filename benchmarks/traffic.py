"""Count the requests and bytes of a run over HTTP, by method.

    python benchmarks/traffic.py --target http://gpu:8000/v1 --draft http://gpu:8001/v1

Each method solves the same problems of the installed suites, one at a time. Counted are the HTTP
requests of a run and the bytes of their bodies. The requests of each server's probe are not.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2

from dreamr import RunOptions
from dreamr._provenance import provenance
from dreamr.engines.http import HttpEngine, HttpOptions
from dreamr.evaluation.bench import presets
from dreamr.evaluation.tasks import Item, installed_tasks, load
from dreamr.runner import run

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

    def take(self) -> tuple[int, int]:
        """Return what was counted since the last call."""
        found = self.requests, self.sent
        self.requests = self.sent = 0
        return found


async def count(urls: dict[str, str], methods: list[str], limit: int) -> list[dict[str, Any]]:
    """Return the mean requests and bytes of a run, for each suite and method."""
    transports = {role: Counting(httpx2.AsyncHTTPTransport()) for role in urls}
    rows = []
    async with (
        HttpEngine(HttpOptions(urls["draft"]), transports["draft"]) as draft,
        HttpEngine(HttpOptions(urls["target"]), transports["target"]) as target,
    ):

        async def solve(item: Item, options: RunOptions) -> None:
            config = options.run_config()
            await run(item.conversation, target=target, draft=draft, config=config)

        for task in installed_tasks():
            items = list(load(task, limit=limit))
            for name, preset in presets(methods).items():
                options = preset.options(RunOptions(**urls))
                for transport in transports.values():
                    transport.take()
                for item in items:
                    await solve(item, options)
                row: dict[str, Any] = {"task": task, "method": name, "problems": len(items)}
                for role, transport in transports.items():
                    requests, sent = transport.take()
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
    rows = anyio.run(count, urls, options.method or list(METHODS), options.limit)
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
