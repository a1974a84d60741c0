"""Attempts at requests in Redis, which any replica continues."""

from __future__ import annotations

from typing import Any, cast

from dreamr.serving.store.link import StoreLink
from dreamr.serving.store.protocol import Attempt, Committed, Kind, NewAttempt, Refused
from dreamr.serving.store.redis_quotas import PREFIX, digest_of
from dreamr.serving.store.scripts import DELETE, KEEP, RECORDS

KIND = Kind("attempt", 4000, 256 * 2**20)

# An attempt is a record. Beside its content are the digest of its request, its holder, its
# committed steps, and the answer once it has ended.
_ATTEMPT = (
    RECORDS
    + """
local name, owner, holder = ARGV[1], ARGV[2], ARGV[3]
local state, steps, answer = content(name) .. ':state', content(name) .. ':steps',
    content(name) .. ':answer'
local function grow(size)
    redis.call('HINCRBY', sizes, name, size)
    count(owner, size)
    count('', size)
end
local function last(ms)
    for _, key in ipairs({content(name), state, steps, answer}) do
        redis.call('PEXPIRE', key, ms)
    end
    redis.call('ZADD', ends, now + ms / 1000, name)
end
local function held()
    local held_by = is_own(name, owner) and redis.call('HGET', state, 'holder')
    if not held_by then return 'gone' end
    return held_by == holder and 'kept' or 'superseded'
end
"""
)

# ARGV: name, owner. Returns 1 if the client has such an attempt.
_KNOWN = _ATTEMPT + "return is_own(name, owner) and 1 or 0"

# ARGV: name, owner, holder, digest of the request, milliseconds, content, size, most attempts, most
# bytes. An empty digest is any; without a content, no attempt is made. Returns what was found, then
# content and steps, or content and answer.
_BEGIN = (
    _ATTEMPT
    + KEEP
    + """
if is_own(name, owner) then
    if ARGV[4] ~= '' and redis.call('HGET', state, 'digest') ~= ARGV[4] then return {'other'} end
    local about = redis.call('GET', content(name))
    local found = redis.call('GET', answer)
    if found then return {'ended', about, found} end
    redis.call('HSET', state, 'holder', holder)
    return {'begun', about, redis.call('LRANGE', steps, 0, -1)}
end
if ARGV[6] == '' or not keep(name, owner, ARGV[6], ARGV[5], tonumber(ARGV[7]),
    tonumber(ARGV[8]), tonumber(ARGV[9]), true) then return {'none'} end
redis.call('HSET', state, 'holder', holder, 'digest', ARGV[4])
last(ARGV[5])
return {'begun', ARGV[6], {}}
"""
)

# ARGV: name, owner, holder, milliseconds, number of steps before this one, step. Returns 'kept',
# 'superseded' if another attempt holds the name, or 'gone' if the attempt has made room for others,
# or the server has other steps, as it came back with an earlier state.
_COMMIT = (
    _ATTEMPT
    + """
local status = held()
if status ~= 'kept' then return status end
if redis.call('LLEN', steps) ~= tonumber(ARGV[5]) then return 'gone' end
redis.call('RPUSH', steps, ARGV[6])
grow(#ARGV[6])
last(ARGV[4])
return status
"""
)

# ARGV: name, owner, holder, milliseconds, answer.
_END = (
    _ATTEMPT
    + """
if held() ~= 'kept' then return 0 end
redis.call('DEL', steps)
redis.call('SET', answer, ARGV[5])
grow(#ARGV[5])
last(ARGV[4])
return 1
"""
)


class RedisAttempts:
    """Attempts at the requests of all replicas.

    Args:
        link: Link to Redis.
    """

    def __init__(self, link: StoreLink) -> None:
        self._link = link

    async def known(self, name: str, owner: str) -> bool:
        """Return whether a client has made an attempt of this name.

        Raises:
            StoreLost: If Redis is lost.
        """
        return bool(await self._run(_KNOWN, name, owner, ""))

    async def begin(self, new: NewAttempt, seconds: float) -> Attempt | Refused:
        """Begin an attempt, or continue the one of this name, which its former holder loses.

        Raises:
            StoreLost: If Redis is lost.
        """
        bounds = (len(new.about), KIND.most, KIND.most_bytes)
        given = (new.holder, new.digest, round(seconds * 1000), new.about, *bounds)
        found = await self._run(_BEGIN, new.name, new.owner, *given, large=True)
        match found:
            case [b"begun", about, steps]:
                return Attempt(new.name, new.owner, new.holder, about, tuple(steps))
            case [b"ended", about, answer]:
                return Attempt(new.name, new.owner, new.holder, about, answer=answer)
            case [b"other"]:
                return "other"
        return "none"

    async def commit(self, attempt: Attempt, place: int, step: bytes, seconds: float) -> Committed:
        """Keep the next committed step, unless a later attempt has begun; see `Attempts.commit`.

        Raises:
            StoreLost: If Redis is lost.
        """
        given = (attempt.holder, round(seconds * 1000), place, step)
        found = await self._run(_COMMIT, attempt.name, attempt.owner, *given)
        return cast("Committed", found.decode())

    async def end(self, attempt: Attempt, answer: bytes, seconds: float) -> bool:
        """Keep the answer; return False if a later attempt has begun, or this one is gone.

        Raises:
            StoreLost: If Redis is lost.
        """
        given = (attempt.holder, round(seconds * 1000), answer)
        return bool(await self._run(_END, attempt.name, attempt.owner, *given, large=True))

    async def delete(self, name: str, owner: str) -> None:
        """Forget an attempt.

        Raises:
            StoreLost: If Redis is lost.
        """
        await self._run(DELETE, name, owner)

    async def _run(
        self, script: str, name: str, owner: str, *given: Any, large: bool = False
    ) -> Any:
        keys = [f"{PREFIX}{KIND.name}"]
        return await self._link.run(script, keys, name, digest_of(owner), *given, large=large)
