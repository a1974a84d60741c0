"""The operations on logs of runs in Redis; see `scripts`."""

from __future__ import annotations

from dreamr.serving.store.scripts import KEEP, RECORDS

# The log of a run: a hash about it, a list of events, a list of committed steps, and a lease that
# expires. The set of open runs is a sorted set. The request is a record, which is kept as long as
# the log: together they are one of the runs of which a client may have a limited number. A name is
# the end of a key, as any client can ask for any name: it reaches no key of another type.
_RUN = """
local run, events, steps, lease, open = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local function last(seconds)
    for _, key in ipairs({run, events, steps}) do redis.call('EXPIRE', key, seconds) end
end
"""

# Reads a part of a list: at most 1 MiB, or one element, so that a command ends within its time.
_SOME = """
local function some(list, first, most)
    local found, size = {}, 0
    while #found < most do
        local start = first + #found
        local group = redis.call('LRANGE', list, start, start + math.min(8, most - #found) - 1)
        for _, one in ipairs(group) do
            size = size + #one
            if #found > 0 and size > 2^20 then return found end
            table.insert(found, one)
        end
        if #group == 0 then break end
    end
    return found
end
"""

# ARGV: name, owner, seconds to keep it after its end, holder, milliseconds of the lease, longest
# duration in seconds, request, size, most runs, most bytes. Returns 1 if there was room, 0 also if
# another holder has begun it.
OPEN = (
    RECORDS
    + KEEP
    + _RUN
    + """
local size, most, most_bytes = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local begun = redis.call('HMGET', run, 'owner', 'holder')
if begun[1] == ARGV[2] and begun[2] ~= ARGV[4] then return 0 end
if not keep(ARGV[1], ARGV[2], ARGV[7], ARGV[6] * 1000, size, most, most_bytes, false) then
    return 0
end
redis.call('HSET', run, 'owner', ARGV[2], 'seconds', ARGV[3], 'holder', ARGV[4])
redis.call('SET', lease, ARGV[4], 'PX', ARGV[5])
redis.call('ZADD', open, redis.call('TIME')[1], ARGV[1])
last(ARGV[6])
return 1
"""
)

# ARGV: name, holder, milliseconds of the lease, longest duration in seconds, 1 if these are the
# last, number of events and of steps before these, number of events, events, steps. What the log
# has already, because the reply to an earlier call was lost, is skipped. Returns 'lost' if another
# replica holds the run, or the server came back with an earlier state of the log: what is missing
# there would be a gap. A replica continues the run with that state.
APPEND = (
    RECORDS
    + _RUN
    + """
if redis.call('HGET', run, 'holder') ~= ARGV[2] then return 'lost' end
local function kept()
    return redis.call('HEXISTS', run, 'canceled') == 0 and 'kept' or 'canceled'
end
if redis.call('HEXISTS', run, 'ended') == 1 then return kept() end
local known_events = redis.call('LLEN', events) - ARGV[6]
local known_steps = redis.call('LLEN', steps) - ARGV[7]
if known_events < 0 or known_steps < 0 then return 'lost' end
local last_event = 8 + tonumber(ARGV[8])
for place = 9 + known_events, last_event do redis.call('RPUSH', events, ARGV[place]) end
for place = last_event + 1 + known_steps, #ARGV do redis.call('RPUSH', steps, ARGV[place]) end
local found, seconds = kept(), ARGV[4]
if ARGV[5] == '1' then
    seconds = redis.call('HGET', run, 'seconds')
    redis.call('HSET', run, 'ended', 1)
    redis.call('ZREM', open, ARGV[1])
    redis.call('DEL', lease)
else
    redis.call('SET', lease, ARGV[2], 'PX', ARGV[3])
end
last(seconds)
prolong(ARGV[1], seconds * 1000)
return found
"""
)

# ARGV: owner, number of the first event, most events. Returns 1 if there are no others after these
# and the run has ended, then the events.
READ = (
    _RUN
    + _SOME
    + """
if redis.call('HGET', run, 'owner') ~= ARGV[1] then return false end
local first, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local list = some(events, first, most)
local over = redis.call('HEXISTS', run, 'ended') == 1
    and first + #list >= redis.call('LLEN', events)
return {over and 1 or 0, unpack(list)}
"""
)

# ARGV: owner. Returns 1 if the client has the run.
CANCEL = (
    _RUN
    + """
if redis.call('HGET', run, 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', run, 'canceled', 1)
return 1
"""
)

# KEYS: prefix of logs, set of open runs. ARGV: holder, milliseconds of the lease, runs that the
# holder runs already: their leases can have ended while it could not reach the server. Returns
# name, owner and number of events of another run without a holder, and 1 if it was canceled.
TAKE_OVER = """
local own = {}
for place = 3, #ARGV do own[ARGV[place]] = true end
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local run = KEYS[1] .. 'about:' .. name
    local owner = redis.call('HGET', run, 'owner')
    if not owner then
        redis.call('ZREM', KEYS[2], name)
    elseif not own[name]
        and redis.call('SET', KEYS[1] .. 'lease:' .. name, ARGV[1], 'NX', 'PX', ARGV[2]) then
        redis.call('HSET', run, 'holder', ARGV[1])
        return {name, owner, redis.call('LLEN', KEYS[1] .. 'events:' .. name),
            redis.call('HEXISTS', run, 'canceled')}
    end
end
return {}
"""

# ARGV: number of the first step, most steps, holder, milliseconds of its lease. Returns committed
# steps. Reading all of them can take longer than a lease, so each part prolongs it.
STEPS = (
    _RUN
    + _SOME
    + """
if redis.call('HGET', run, 'holder') == ARGV[3] then
    redis.call('SET', lease, ARGV[3], 'PX', ARGV[4])
end
return some(steps, tonumber(ARGV[1]), tonumber(ARGV[2]))
"""
)

# ARGV: holder.
GIVE_BACK = (
    _RUN
    + """
if redis.call('HGET', run, 'holder') == ARGV[1] then redis.call('DEL', lease) end
return 1
"""
)

# ARGV: name, owner. Returns 1 if the client had the run and it has ended. A request without a log
# is forgotten too.
DELETE_RUN = (
    RECORDS
    + _RUN
    + """
local found = redis.call('HGET', run, 'owner')
if found and (found ~= ARGV[2] or redis.call('HEXISTS', run, 'ended') == 0) then return 0 end
if is_own(ARGV[1], ARGV[2]) then forget(ARGV[1]) end
redis.call('DEL', run, events, steps, lease)
return found and 1 or 0
"""
)

# ARGV: name. Forgets a run that has not ended too.
DISCARD = (
    RECORDS
    + _RUN
    + """
forget(ARGV[1])
redis.call('DEL', run, events, steps, lease)
redis.call('ZREM', open, ARGV[1])
return 1
"""
)
