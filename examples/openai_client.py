"""Use the OpenAI client with the gateway. Start `dreamr serve` first.

pip install openai
python examples/openai_client.py receipt.png [http://localhost:8500/v1]
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from openai import OpenAI


def main(image: str, url: str) -> None:
    """Stream the reasoning, then the answer."""
    client = OpenAI(base_url=url, api_key="none")
    encoded = base64.b64encode(Path(image).read_bytes()).decode()
    stream = client.chat.completions.create(
        model="dreamr",
        stream=True,
        messages=[
            {
                "role": "user",
                "content": [
                    # The bundled models were trained with images before the text.
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
                    {"type": "text", "text": "What do tea and milk cost together?"},
                ],
            }
        ],
    )
    for chunk in stream:
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        print(getattr(delta, "reasoning_content", None) or "", end="")
        print(delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "receipt.png",
        sys.argv[2] if len(sys.argv) > 2 else "http://localhost:8500/v1",
    )
