"""Count the prompt tokens of pages, frames and sound for families of models.

    python benchmarks/media_tokens.py --out benchmarks/results/media-tokens.json

The processors of transformers count, with the sizes of patches that the vendors publish, or their
formulas do. No model is loaded and nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers as hf

from dreamr.conversation import fitting_size
from dreamr.tooling import provenance

PIXELS = 2**20  # of a page or frame, by default
A4 = (2480, 3508)  # at 300 dots an inch
FULL_HD = (1920, 1080)
SMALL = (640, 360)


def qwen(patch: int) -> Callable[[int, int], int]:
    """Return the tokens of an image: one for each 2 x 2 patches."""
    bounds = {"shortest_edge": 56 * 56, "longest_edge": 2**24}
    processor: Any = hf.Qwen2VLImageProcessor(patch_size=patch, merge_size=2, size=bounds)

    def tokens(width: int, height: int) -> int:
        return int(processor.get_number_of_image_patches(height, width, {})) // 4

    return tokens


def tiles(side: int, each: int, most: int) -> Callable[[int, int], int]:
    """Return the tokens of an image: those of its tiles, and of the whole image beside several."""
    processor: Any = hf.GotOcr2ImageProcessor(
        size={"height": side, "width": side}, crop_to_patches=True, min_patches=1, max_patches=most
    )

    def tokens(width: int, height: int) -> int:
        found: int = processor.get_number_of_image_patches(
            height, width, {"min_patches": 1, "max_patches": most, "crop_to_patches": True}
        )
        return found * each

    return tokens


IMAGES: dict[str, tuple[Callable[[int, int], int], str]] = {
    "Qwen3-VL, Qwen3.5": (qwen(16), "32 x 32 pixels a token"),
    "Qwen2.5-VL": (qwen(14), "28 x 28 pixels a token"),
    "InternVL3, InternVL3.5": (tiles(448, 256, 12), "256 a tile of 448 x 448, at most 12 tiles"),
    "Gemma 3": (lambda width, height: 256, "256 an image"),
    "LLaVA 1.5": (lambda width, height: 576, "576 an image"),
}
MELS = 100  # frames of a spectrogram a second, in all of these


def halved_twice(seconds: int) -> int:
    """Return the tokens of a sound, as `Qwen2AudioProcessor` computes them."""
    return ((seconds * MELS - 1) // 2 + 1 - 2) // 2 + 1


SOUNDS: dict[str, Callable[[int], int]] = {
    "Qwen2-Audio, Qwen2.5-Omni": halved_twice,
    "Qwen3-Omni": lambda seconds: 13 * seconds,  # as `Qwen3OmniMoeProcessor`, in whole seconds
    "Gemma 3n": lambda seconds: 188,  # `Gemma3nProcessor.audio_seq_length`
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures to a JSON file")
    options = parser.parse_args()
    sizes = {"page": A4, "frame_hd": FULL_HD, "frame_small": SMALL}
    sent = {name: fitting_size(*size, PIXELS) for name, size in sizes.items()}
    figures = {
        "sent": {name: list(size) for name, size in sent.items()},
        "images": {
            family: {"rule": rule, **{name: count(*size) for name, size in sent.items()}}
            for family, (count, rule) in IMAGES.items()
        },
        "sounds": {
            family: {"ten_seconds": count(10), "thirty_seconds": count(30)}
            for family, count in SOUNDS.items()
        },
    }
    print(json.dumps(figures, indent=2))
    if options.out:
        content = {"provenance": provenance(), "figures": figures}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
