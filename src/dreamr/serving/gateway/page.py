"""The live page: a single HTML file that connects only to the gateway."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from dreamr.gate import SCORE_NAMES

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def read_page(model: str) -> tuple[str, Mapping[str, str]]:
    """Return the page and its HTTP headers.

    The content security policy allows the page's own script and style, and requests to the gateway.

    Args:
        model: Name under which the gateway serves the pair.
    """
    page = files("dreamr.serving.gateway").joinpath("page.html").read_text(encoding="utf-8")
    # "</script>" in the name would end the script element.
    page = page.replace('"{{model}}"', json.dumps(model).replace("</", "<\\/"))
    page = page.replace('"{{scores}}"', json.dumps(dict(SCORE_NAMES)))
    policy = (
        f"default-src 'none'; script-src {_hashes(_SCRIPT, page)}; "
        f"style-src {_hashes(_STYLE, page)}; img-src data:; media-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


def _hashes(element: re.Pattern[str], page: str) -> str:
    digests = (sha256(text.encode()).digest() for text in element.findall(page))
    return " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
