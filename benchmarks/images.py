"""Measure what a photograph costs a run over HTTP, and other requests beside it.

    python benchmarks/images.py --target http://gpu:8000/v1 --draft http://gpu:8001/v1

It starts a gateway for the two servers, sends a drawn photograph of 4032 x 3024 pixels several
times, and asks for /health every 5 ms meanwhile. "without an image" is the same question as text.
"""

from __future__ import annotations

import argparse
import io
import json
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx2
import PIL.Image

from dreamr.tooling import provenance

QUESTION = "What do tea and milk cost together?"
SIZE = 4032, 3024
PAUSE = 0.005  # seconds between two requests for /health
START_SECONDS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, help="URL of the target")
    parser.add_argument("--draft", required=True, help="URL of the draft")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as link:
        port = link.getsockname()[1]
    served = ["--target", options.target, "--draft", options.draft, "--port", str(port)]
    gateway = subprocess.Popen([sys.executable, "-m", "dreamr", "serve", *served])
    try:
        figures = measure(f"http://127.0.0.1:{port}", options.rounds)
    finally:
        gateway.terminate()
        gateway.wait()
    print(json.dumps(figures, indent=2))
    if options.out:
        content = {"provenance": provenance(), "figures": figures}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


def measure(url: str, rounds: int) -> dict[str, Any]:
    """Return seconds of requests, and the longest wait for /health beside them."""
    found: dict[str, Any] = {}
    with httpx2.Client(base_url=url, timeout=300) as client:
        wait_for(client)
        for number in range(rounds):
            for name in ("without an image", "with a photograph"):
                parts = [{"type": "text", "text": QUESTION}]
                if name == "with a photograph":
                    parts.insert(0, photograph(number))
                seconds, longest = ask(client, url, parts)
                figure = found.setdefault(name, {"seconds": [], "longest /health, ms": []})
                figure["seconds"].append(round(seconds, 3))
                figure["longest /health, ms"].append(round(1e3 * longest, 1))
    return found


def wait_for(client: httpx2.Client) -> None:
    """Wait until the gateway answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the gateway did not start within {START_SECONDS} s")


def ask(client: httpx2.Client, url: str, parts: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the seconds of one request, and those of the slowest /health meanwhile."""
    done, waits = threading.Event(), [0.0]

    def watch() -> None:
        with httpx2.Client(base_url=url, timeout=300) as beside:
            while not done.wait(PAUSE):
                start = time.perf_counter()
                beside.get("/health")
                waits.append(time.perf_counter() - start)

    body = {"model": "dreamr", "messages": [{"role": "user", "content": parts}]}
    content = json.dumps(body).encode()  # before the clock starts
    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    answer = client.post(
        "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    seconds = time.perf_counter() - start
    done.set()
    thread.join()
    answer.raise_for_status()
    return seconds, max(waits)


def photograph(number: int) -> dict[str, Any]:
    """Return the content part of a new photograph."""
    drawn = PIL.Image.effect_noise((SIZE[0] // 12, SIZE[1] // 12), 40 + number).resize(SIZE)
    file = io.BytesIO()
    drawn.convert("RGB").save(file, "JPEG", quality=90)
    data = b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


if __name__ == "__main__":
    main()
