"""Location of a benchmark's files: a folder or the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dreamr._messages import first_line
from dreamr.errors import Unsupported
from dreamr.evaluation.tasks.item import NoData


@dataclass(frozen=True, slots=True)
class Origin:
    """A dataset on the hub, and the parquet files of a split in it.

    Attributes:
        repo: Name of the dataset.
        split: Prefix of the file names.
        folder: Folder in the dataset; may contain a `*`.
    """

    repo: str
    split: str
    folder: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Names of the split's files: a single file or numbered parts."""
        return (f"{self.split}.parquet", f"{self.split}-*.parquet")

    @property
    def patterns(self) -> tuple[str, ...]:
        """The names with their folder."""
        return tuple(f"{self.folder}/{name}".lstrip("/") for name in self.names)


def find_files(origin: Origin, source: str | os.PathLike[str] | None) -> list[Path]:
    """Return the parquet files of a split, sorted.

    Args:
        origin: The files to find.
        source: A parquet file, or a folder that contains the split's files or has the layout of the
            hub. None uses the hub or its cache.

    Raises:
        NoData: If there are no files or the hub cannot be reached.
        Unsupported: If huggingface_hub is not installed.
    """
    if source is None:
        return _in_folder(_fetch(origin), origin)
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NoData(f"{path} does not exist: check the path of the source")
    return _in_folder(path, origin)


def _in_folder(folder: Path, origin: Origin) -> list[Path]:
    for patterns in (origin.patterns, origin.names):
        found = _globbed(folder, patterns)
        if found:
            return found
    raise NoData(
        f"{folder} contains no {' or '.join(origin.names)}: name the file itself, "
        f"or a folder with the layout of {origin.repo} on the Hugging Face hub"
    )


def _globbed(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _fetch(origin: Origin) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"fetching {origin.repo} needs huggingface_hub: pip install 'dreamr[bench]', "
            "or name a local folder or parquet file as the source"
        ) from error
    try:
        return Path(
            snapshot_download(
                origin.repo, repo_type="dataset", allow_patterns=list(origin.patterns)
            )
        )
    except Exception as error:  # huggingface_hub's errors have no other common base class
        reason = first_line(error)
        raise NoData(
            f"{origin.repo} cannot be fetched from the Hugging Face hub ({reason}): download it "
            "on another machine and name its folder or a parquet file as the source"
        ) from error
