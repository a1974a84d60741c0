"""Small parquet files with the schemas of the published benchmarks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

MATHVERSE = pa.schema(
    [(name, pa.string()) for name in ("sample_index", "problem_index", "problem_version")]
    + [("question", pa.string()), ("image", IMAGE), ("answer", pa.string())]
    + [("question_type", pa.string())]
    + [("metadata", pa.struct([(n, pa.string()) for n in ("split", "source", "subfield")]))]
    + [(name, pa.string()) for name in ("query_wo", "query_cot", "question_for_eval")]
)
MMBENCH = pa.schema(
    [("index", pa.int32())]
    + [(name, pa.string()) for name in ("question", "hint", "answer", "A", "B", "C", "D")]
    + [("category", pa.string()), ("image", IMAGE)]
    + [(name, pa.string()) for name in ("source", "L2-category", "comment", "split")]
)
REALWORLDQA = pa.schema([("image", IMAGE), ("question", pa.string()), ("answer", pa.string())])
MMMU = pa.schema(
    [(name, pa.string()) for name in ("id", "question", "options", "explanation")]
    + [(f"image_{number}", IMAGE) for number in range(1, 8)]
    + [(name, pa.string()) for name in ("img_type", "answer", "topic_difficulty")]
    + [(name, pa.string()) for name in ("question_type", "subfield")]
)


def stored_image(color: str = "red", side: int = 4, form: str = "PNG") -> dict[str, Any]:
    """Return an image in the form of the hub."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), color).save(buffer, form)
    return {"bytes": buffer.getvalue(), "path": f"{color}.{form.lower()}"}


def color_of(image: Any) -> tuple[int, ...]:
    """Return the color of the first pixel."""
    return tuple(image.pixels[:3])


def write(path: Path, schema: Any, rows: list[dict[str, Any]], group: int = 2) -> Path:
    """Write a parquet file; missing columns of a row are null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=group)
    return path


def mathverse(**fields: Any) -> dict[str, Any]:
    row = {
        "sample_index": "1",
        "problem_version": "Text Dominant",
        "question": "How big is angle 2?\nChoices:\nA:30°\nB:40°",
        "image": stored_image(),
        "answer": "B",
        "question_type": "multi-choice",
    }
    return row | fields


def mmbench(**fields: Any) -> dict[str, Any]:
    row = {
        "index": 241,
        "question": "What is it?",
        "hint": "nan",
        "answer": "B",
        "A": "a dog",
        "B": "a cat",
        "C": "a cow",
        "D": "nan",
        "category": "object_localization",
        "image": stored_image(),
    }
    return row | fields


def mmmu(**fields: Any) -> dict[str, Any]:
    row = {
        "id": "validation_Art_Theory_3",
        "question": "Who painted <image 1>?",
        "options": "['Goya', \"O'Keeffe\", 'Klee']",
        "image_1": stored_image(),
        "answer": "B",
        "question_type": "multiple-choice",
    }
    return row | fields
