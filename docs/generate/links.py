"""MkDocs hook: make links from pages to files of the repository work on the site too.

On GitHub, pages link to files outside docs/ by relative paths. On the site, images among them are
copied, and everything else becomes a link into the repository. A path that does not exist is an
error.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)")
IMAGES = (".png", ".svg")
COPIED = "repository"


def outside(page: str, link: str) -> str | None:
    """Return the path of a linked file from the root, or None if it lies in docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith("docs/") else path


def on_files(files: Files, config: Any) -> Files:
    """Add the images outside docs/ that pages show."""
    for page in list(files.documentation_pages()):
        for link, _ in LINK.findall(page.content_string):
            path = outside(page.src_uri, link)
            if path and path.endswith(IMAGES) and (ROOT / path).is_file():
                source = str(ROOT / path)
                new = File.generated(config, f"{COPIED}/{path}", abs_src_path=source)
                if files.get_file_from_path(new.src_uri) is None:
                    files.append(new)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite links that leave docs/."""

    def rewritten(match: re.Match[str]) -> str:
        path = outside(page.file.src_uri, match[1])
        if path is None:
            return match[0]
        if not (ROOT / path).exists():
            raise PluginError(f"{page.file.src_uri} links to {match[1]}, which does not exist")
        if path.endswith(IMAGES):
            up = posixpath.relpath(f"{COPIED}/{path}", posixpath.dirname(page.file.src_uri) or ".")
            return f"]({up})"
        return f"]({config.repo_url.rstrip('/')}/blob/main/{path}{match[2] or ''})"

    return LINK.sub(rewritten, markdown)
