"""Writing of weights, whose libraries report a full disk in several ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamr._messages import first_line
from dreamr._output_files import unwritable

_TORCH = "inline_container"  # file of torch that is named in each error of its writer


@contextmanager
def writing_weights(
    path: Path, advice: str = "free some space and run the same command again"
) -> Iterator[None]:
    """Guard a block that writes weights to a file or folder.

    Args:
        path: The file or folder.
        advice: What the user can do if that fails.

    Raises:
        Unwritable: If that fails, for example on a full disk.
    """
    from safetensors import SafetensorError  # of an extra

    try:
        yield
    except OSError as error:
        raise unwritable(path, error, advice) from error
    except SafetensorError as error:
        raise unwritable(path, OSError(first_line(error)), advice) from error
    except RuntimeError as error:
        if _TORCH not in str(error):
            raise
        raise unwritable(path, OSError("not all bytes could be written"), advice) from error
