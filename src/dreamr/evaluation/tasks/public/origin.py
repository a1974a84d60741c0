"""Where the files of a published set are: in a folder, or on the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dreamr.errors import Unsupported
from dreamr.evaluation.tasks.item import NoData


@dataclass(frozen=True, slots=True)
class Origin:
    """A data set on the hub, and which of its parquet files are the split.

    folder: where in the data set they lie; may hold a `*`. split: how their names begin.
    """

    repo: str
    split: str
    folder: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """What a file of the split is called: in one piece, or in numbered ones."""
        return (f"{self.split}.parquet", f"{self.split}-*.parquet")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The same with the folder before it."""
        return tuple(f"{self.folder}/{name}".lstrip("/") for name in self.names)


def find_files(origin: Origin, source: str | os.PathLike[str] | None) -> list[Path]:
    """The parquet files of a split, sorted.

    Args:
        origin: what is looked for.
        source: a parquet file, or a folder with the split's files in it or laid out as on the
            hub; None is the hub, or what it left in its cache.

    Raises:
        NoData: there are none, or the hub cannot be reached.
        Unsupported: huggingface_hub is not installed.
    """
    if source is None:
        return _in_folder(_fetch(origin), origin)
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NoData(f"there is no file or folder {path}: check the path")
    return _in_folder(path, origin)


def _in_folder(folder: Path, origin: Origin) -> list[Path]:
    for patterns in (origin.patterns, origin.names):
        found = _globbed(folder, patterns)
        if found:
            return found
    raise NoData(
        f"{folder} holds no {' or '.join(origin.names)}: name the file itself, "
        f"or a folder laid out like {origin.repo} on the Hugging Face hub"
    )


def _globbed(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _fetch(origin: Origin) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"fetching {origin.repo} needs huggingface_hub: pip install 'dreamr[bench]', "
            "or name a local folder or parquet file"
        ) from error
    try:
        return Path(
            snapshot_download(
                origin.repo, repo_type="dataset", allow_patterns=list(origin.patterns)
            )
        )
    except Exception as error:  # its errors have no common base short of this
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise NoData(
            f"{origin.repo} cannot be fetched from the Hugging Face hub ({reason}): download it "
            "elsewhere, and name its folder or a parquet file as the source"
        ) from error
