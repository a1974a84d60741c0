from __future__ import annotations

import math
from typing import Any

import pytest

from dreamr import BadOption
from dreamr.conversation import BadPages, MediaOptions


@pytest.mark.parametrize(
    "values",
    [
        {"frames": 0}, {"frames": 257}, {"frames": 2.5}, {"frames": True}, {"fps": 0},
        {"fps": -1.0}, {"fps": math.nan}, {"fps": math.inf}, {"fps": "2"}, {"fps": True},
        {"pdf_text": "maybe"}, {"frames_by": "chance"}, {"max_pixels": 0},
        {"max_pixels": 2**40}, {"fps": 1.0, "frames_by": "scenes"},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match=next(iter(values))):
        MediaOptions(**values)


def test_a_selection_of_pages_is_checked_before_any_file_is_read() -> None:
    with pytest.raises(BadPages, match="'three'"):
        MediaOptions(pages="three")


def test_a_page_or_frame_has_a_megapixel_unless_chosen_otherwise() -> None:
    assert MediaOptions().pixels == 2**20
    assert MediaOptions(max_pixels=500).pixels == 500
