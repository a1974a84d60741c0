"""Opening the store that the options of a gateway name."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from dreamr.errors import Unsupported
from dreamr.serving.options import ServeOptions
from dreamr.serving.store.memory import MemoryStore
from dreamr.serving.store.protocol import Store


def open_store(options: ServeOptions) -> Store:
    """Return the store of a gateway: in Redis with `--store`, else in memory.

    Args:
        options: Options of the gateway.

    Raises:
        BadOption: If the address of the store is invalid.
        Unsupported: If it needs a package that is not installed.
    """
    if options.store is None:
        return MemoryStore()
    try:
        from dreamr.serving.store.connection import PASSWORD
        from dreamr.serving.store.redis import RedisStore
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"--store needs {error.name}, which is not installed: pip install 'dreamr[redis]'"
        ) from error
    return RedisStore(options.store, os.environ.get(PASSWORD))


@asynccontextmanager
async def opened_store(options: ServeOptions) -> AsyncGenerator[Store, None]:
    """Open the store of a gateway, check that it lets this process in, and close it at the end.

    Args:
        options: Options of the gateway.

    Raises:
        BadOption: If the address of the store is invalid, or it denies access.
        Unsupported: If it needs a package that is not installed.
    """
    store = open_store(options)
    try:
        await store.check()
        yield store
    finally:
        await store.aclose()
