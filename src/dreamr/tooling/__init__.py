"""Helpers for scripts that benchmark or train: atomic file output, bounded reads, provenance."""

from dreamr._files import read_text
from dreamr._messages import first_line
from dreamr._output_files import Output, writing
from dreamr._provenance import provenance

__all__ = ["Output", "first_line", "provenance", "read_text", "writing"]
