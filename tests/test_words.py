"""Docs, help, errors, docstrings and comments keep to plain words and American spelling."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]

# Each with what to write instead.
AVOIDED = {
    r"anew": "again",
    r"mend(s|ed|ing)?": "fix",
    r"behind": "after; in front of",
    r"who(m)?ever": "whoever does",
    r"nobody": "no one; or name the subject",
    r"heed(s|ed|ing)?": "respect",
    r"so many": "a number of; or the number",
    r"in the place of": "instead of",
    r"under way": "running",
    r"(broke|broken|breaks|break|breaking) off": "interrupted",
    r"(?<!there )(is|are|was|were) no (?!longer)": "is not a",
    r"pictures?": "image",
    r"spoil(s|t|ed)?": "turn into a wrong answer; regression",
    r"told": "informed; or say what is reported",
    r"dear(er|est)?": "expensive",
    r"comes? of it": "result",
    r"what fits": "what is compatible",
    r"by turns": "alternately",
    r"at work": "running",
    r"ha(s|ve) to do with": "concerns",
    r"thereof|thereby|wherein|whereof|hence|thus|lest|ere|nigh|save for|upon": "plain words",
    r"of one's own": "custom",
    r"go(es)? on (to|with|from|as|where)": "continue",
    r"besides": "also; in addition",
}
BRITISH = {
    r"(behavi|col|fav|neighb|hon|lab)our(s|ed|ing|ite|al)?": "-or",
    r"licence": "license",
    r"(cent|fib|met)re": "-er",
    r"catalogue|analogue|dialogue": "-og",
    r"(real|organ|initial|normal|general|optim|summar)is(e|es|ed|ing|ation)": "-iz-",
    r"(recogn|serial|token|random|emphas|orthogonal)is(e|es|ed|ing|ation)": "-iz-",
    r"analys(e|ed|es|ing)": "analyz-",
    r"(cancel|label|model|travel|signal|channel)l(ed|ing)": "one l",
    r"grey": "gray",
    r"learnt|spelt|burnt|dreamt": "-ed",
    r"judgement": "judgment",
    r"whilst|amongst|towards": "while, among, toward",
}
WORDS = {**AVOIDED, **BRITISH}
FORBIDDEN = {
    re.compile(rf"\b(?:{word})\b", re.IGNORECASE): advice for word, advice in WORDS.items()
}
ANY = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return tuple(ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists())


def pages() -> list[Path]:
    return [page for page in tracked("*.md") if "benchmarks/results" not in page.as_posix()]


def code() -> list[Path]:
    """Everything but tests, whose strings are data."""
    files = tracked("*.py", "*.html", "scripts/*")
    return [path for path in files if "tests" not in path.parts]


def prose(page: str) -> str:
    """A page without its code, its addresses and its comments."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "CODE", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The strings and comments of a Python file, with their lines; of other files, all."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    docs = {id(node.body[0].value) for node in nodes if has_docstring(node)}
    for node in nodes:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        if id(node) in docs or (" " in node.value and not is_data(path)):
            yield node.lineno, re.sub(r"`[^`]*`", "CODE", " ".join(node.value.split()))
    # Reading tokens takes most of the time: few files have such a word behind a "#" at all.
    if not any(ANY.search(line.partition("#")[2]) for line in source.splitlines()):
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def has_docstring(node: ast.AST) -> bool:
    return isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None


def is_data(path: Path) -> bool:
    """Whether the strings of a file are what models are trained on and asked."""
    return "suites" in path.parts or path.name == "prompts.py"


def found(text: str) -> list[str]:
    if not ANY.search(text):
        return []
    return [
        f"{match[0]!r}: {advice}"
        for pattern, advice in FORBIDDEN.items()
        for match in pattern.finditer(text)
    ]


def misused(path: Path) -> list[str]:
    """The words of a page or a file of code that are not plain, with their places."""
    page = path.suffix == ".md"
    parts = [(0, prose(path.read_text(encoding="utf-8")))] if page else texts(path)
    name = path.relative_to(ROOT)
    return [f"{name}:{line}: {word}" for line, text in parts for word in found(text)]


def test_pages_keep_to_plain_words() -> None:
    assert not [word for page in pages() for word in misused(page)]


def test_docstrings_help_errors_and_comments_keep_to_plain_words() -> None:
    assert not [word for path in code() for word in misused(path)]


def sentences(page: Path) -> list[str]:
    """The sentences of the paragraphs and list items of a page."""
    text = prose(page.read_text(encoding="utf-8"))
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("#", "|", "!")))
    blocks = re.split(r"\n\s*\n|\n\s*[-*] |\n\d+\. ", text)
    parts = (re.split(r"(?<=[.?!:;])\s+", " ".join(block.split())) for block in blocks)
    return [part for block in parts for part in block if len(part.split()) > 2]


def test_sentences_are_short() -> None:
    for page in (ROOT / "README.md", *tracked("docs/guides/*.md", "docs/*.md")):
        assert median(len(sentence.split()) for sentence in sentences(page)) < 20, page.name


if __name__ == "__main__":
    import sys

    for given in sys.argv[1:]:
        for path in (p for p in [*code(), *pages()] if given in p.as_posix()):
            for word in misused(path):
                print(word)
