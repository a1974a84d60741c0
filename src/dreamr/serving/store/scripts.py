"""The operations on a store in Redis, each atomic: scripts that Redis runs.

All keys of a gateway have the same braces, so that a cluster keeps them on one server.
"""

from __future__ import annotations

_NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
"""

# Token buckets of a client: a hash with size and level of each, and the time of both. Requests of a
# client that run: a sorted set by the time at which they count as dead.
_QUOTA = (
    _NOW
    + """
local buckets, running, report = KEYS[1], KEYS[2], KEYS[3]
local function filled(name, size)
    local old = redis.call('HMGET', buckets, name .. ':size', name .. ':level', 'at')
    if not old[1] then return size end
    local most = tonumber(old[1])
    size = size or most
    local passed = math.max(0, now - old[3])  -- the clock can be set back
    return math.min(most, old[2] + passed * most / 60) + size - most
end
local sizes, levels = {}, {}
local function keep(ttl)
    local longest = 120
    redis.call('DEL', buckets)
    for name, size in pairs(sizes) do
        local level = string.format('%.6f', levels[name])
        redis.call('HSET', buckets, name .. ':size', size, name .. ':level', level, 'at',
            string.format('%.6f', now))
        longest = math.max(longest, math.ceil((size - levels[name]) * 60 / size) + 60)
    end
    redis.call('EXPIRE', buckets, longest)
    redis.call('EXPIRE', running, ttl * 2)
end
local function found()
    local list = {}
    for name, size in pairs(sizes) do
        table.insert(list, name)
        table.insert(list, tostring(size))
        table.insert(list, string.format('%.6f', levels[name]))
    end
    return list
end
"""
)

# ARGV: request, seconds after which it counts as dead, 1 if it was let in before, limits of running
# requests, requests and tokens, each empty if there is none. Returns the limit that is reached, if
# any, then name, size and level of each bucket.
ENTER = (
    _QUOTA
    + """
redis.call('ZREMRANGEBYSCORE', running, '-inf', now)
local latest = now + ARGV[2]  -- what ends later is from before the clock was set back
for _, request in ipairs(redis.call('ZRANGEBYSCORE', running, latest + 1, '+inf')) do
    redis.call('ZADD', running, latest, request)
end
for place, name in ipairs({'requests', 'tokens'}) do
    local size = tonumber(ARGV[4 + place])
    if size then sizes[name], levels[name] = size, filled(name, size) end
end
local refused = ''
if ARGV[3] ~= '1' then
    if ARGV[4] ~= '' and redis.call('ZCARD', running) >= tonumber(ARGV[4]) then
        refused = 'running'
    elseif sizes.tokens and levels.tokens < 1 then
        refused = 'tokens'
    elseif sizes.requests and levels.requests < 1 then
        refused = 'requests'
    elseif sizes.requests then
        levels.requests = levels.requests - 1
    end
end
if refused == '' then redis.call('ZADD', running, latest, ARGV[1]) end
keep(ARGV[2])
return {refused, unpack(found())}
"""
)

# ARGV: seconds after which requests count as dead, number of the report, tokens to count, a request
# that has ended or an empty string, requests that go on. Returns name, size and level of each
# bucket. The tokens of a report that was sent again, because its reply was lost, count once. A
# report without tokens has the number 0.
SETTLE = (
    _QUOTA
    + """
for _, name in ipairs({'requests', 'tokens'}) do
    local size = tonumber(redis.call('HGET', buckets, name .. ':size') or '')
    if size then sizes[name], levels[name] = size, filled(name, size) end
end
if tonumber(ARGV[2]) > tonumber(redis.call('GET', report) or '0') then
    if sizes.tokens then levels.tokens = levels.tokens - ARGV[3] end
    redis.call('SET', report, ARGV[2], 'EX', 3600)
end
if ARGV[4] ~= '' then redis.call('ZREM', running, ARGV[4]) end
for place = 5, #ARGV do redis.call('ZADD', running, now + ARGV[1], ARGV[place]) end
keep(ARGV[1])
return found()
"""
)

# Records of a kind. Their contents are strings that expire. Sorted sets say when each ends and in
# which order they were made, hashes whose they are and how large. A server that evicts keys can
# remove any of these, so none is taken for granted, and bytes without records do not count.
RECORDS = (
    _NOW
    + """
local base = KEYS[1]
local made, ends, owners = base .. ':made', base .. ':ends', base .. ':owners'
local sizes, used = base .. ':sizes', base .. ':used'
local function of(owner) return base .. ':of:' .. owner end
local function content(name) return base .. ':content:' .. name end
local function bytes(owner) return tonumber(redis.call('HGET', used, owner) or '0') end
local function count(owner, size)
    if redis.call('HINCRBY', used, owner, size) <= 0 then redis.call('HDEL', used, owner) end
end
local function forget(name)
    local owner = redis.call('HGET', owners, name)
    local size = tonumber(redis.call('HGET', sizes, name) or '0')
    redis.call('ZREM', made, name)
    redis.call('ZREM', ends, name)
    redis.call('HDEL', owners, name)
    redis.call('HDEL', sizes, name)
    for _, part in ipairs({'', ':state', ':steps', ':answer'}) do
        redis.call('DEL', content(name) .. part)
    end
    if size > 0 then count('', -size) end  -- Redis 7.0 takes -0 for no number
    if redis.call('EXISTS', made) == 0 then redis.call('DEL', used) end
    if not owner then return end
    redis.call('ZREM', of(owner), name)
    if size > 0 then count(owner, -size) end
    if redis.call('EXISTS', of(owner)) == 0 then redis.call('HDEL', used, owner) end
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)) do
    forget(name)
end
local function is_own(name, owner)
    if redis.call('HGET', owners, name) ~= owner then return false end
    if redis.call('EXISTS', content(name)) == 1 then return true end
    forget(name)
    return false
end
local function prolong(name, ms)
    redis.call('PEXPIRE', content(name), ms)
    redis.call('ZADD', ends, 'XX', now + ms / 1000, name)
end
"""
)

# Makes room for a record and keeps it; returns whether there was room.
KEEP = """
local function make_room(full, list, owner)
    while full() do
        local oldest = redis.call('ZRANGE', list, 0, 0)[1]
        if not oldest then return redis.call('HDEL', used, owner) end
        forget(oldest)
        redis.call('ZREM', list, oldest)
    end
end
local function keep(name, owner, value, ms, size, most, most_bytes, evicts)
    local before = redis.call('HGET', owners, name)
    if before and before ~= owner then return false end
    local old, one = 0, 0
    if before then old, one = tonumber(redis.call('HGET', sizes, name) or '0'), 1 end
    local function own_full()
        return redis.call('ZCARD', of(owner)) - one >= math.floor(most / 2)
            or bytes(owner) - old + size > most_bytes / 2
    end
    local function full()
        return redis.call('ZCARD', made) - one >= most or bytes('') - old + size > most_bytes
    end
    if not evicts and (own_full() or full()) then return false end
    local place = before and redis.call('ZSCORE', made, name) or redis.call('INCR', base .. ':last')
    forget(name)
    old, one = 0, 0
    make_room(own_full, of(owner), owner)
    make_room(full, made, '')
    redis.call('SET', content(name), value, 'PX', ms)
    redis.call('ZADD', made, place, name)
    redis.call('ZADD', of(owner), place, name)
    redis.call('ZADD', ends, now + ms / 1000, name)
    redis.call('HSET', owners, name, owner)
    redis.call('HSET', sizes, name, size)
    count(owner, size)
    count('', size)
    return true
end
"""

# ARGV: name, owner, content, milliseconds, size, most records, most bytes, 1 if the oldest make
# room. Returns 1 if the record is kept.
PUT = (
    RECORDS
    + KEEP
    + """
local size, most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
return keep(ARGV[1], ARGV[2], ARGV[3], ARGV[4], size, most, most_bytes, ARGV[8] == '1') and 1 or 0
"""
)

# ARGV: name, owner. Returns the content, if the client has the record.
GET = (
    RECORDS
    + """
if not is_own(ARGV[1], ARGV[2]) then return false end
return redis.call('GET', content(ARGV[1]))
"""
)

# ARGV: name, owner, milliseconds. Returns 1 if the client has the record, which is the newest then.
TOUCH = (
    RECORDS
    + """
if not is_own(ARGV[1], ARGV[2]) then return 0 end
prolong(ARGV[1], ARGV[3])
local place = redis.call('INCR', base .. ':last')
redis.call('ZADD', made, place, ARGV[1])
redis.call('ZADD', of(ARGV[2]), place, ARGV[1])
return 1
"""
)

# ARGV: name, owner. Returns 1 if the client had the record.
DELETE = (
    RECORDS
    + """
if not is_own(ARGV[1], ARGV[2]) then return 0 end
forget(ARGV[1])
return 1
"""
)

# ARGV: owner. Returns name and content of each record of the client, the oldest first.
ALL = (
    RECORDS
    + """
local list = {}
for _, name in ipairs(redis.call('ZRANGE', of(ARGV[1]), 0, -1)) do
    local found = redis.call('GET', content(name))
    if found then
        table.insert(list, name)
        table.insert(list, found)
    end
end
return list
"""
)
