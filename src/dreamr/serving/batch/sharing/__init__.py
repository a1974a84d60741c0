"""One batch, shared by several processes through Redis.

Every process reads the same file of requests. Redis hands out their numbers, takes the answers, and
notices which processes have died.
"""

from dreamr.serving.batch.sharing.job import SharedJob
from dreamr.serving.batch.sharing.link import Link, connect
from dreamr.serving.batch.sharing.run import SharedBatch, join

__all__ = ["Link", "SharedBatch", "SharedJob", "connect", "join"]
