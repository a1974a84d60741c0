"""Tooling: what programs that measure or train need beside dreamr.

Files that are written whole or not at all, bounded reads, provenance and short messages.
"""

from dreamr._files import read_text
from dreamr._messages import first_line
from dreamr._output_files import Output, writing
from dreamr._provenance import provenance

__all__ = ["Output", "first_line", "provenance", "read_text", "writing"]
