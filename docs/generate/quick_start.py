"""Print the blocks of the README's quick start as one shell script.

python docs/generate/quick_start.py | bash -euo pipefail
"""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def main() -> None:
    """Print the script."""
    section = README.read_text("utf-8").partition("## Quick start\n")[2].partition("\n## ")[0]
    for language, code in re.findall(r"```(sh|python)\n(.*?)```", section, re.DOTALL):
        print(code if language == "sh" else f"python - <<'PYTHON'\n{code}PYTHON")


if __name__ == "__main__":
    main()
