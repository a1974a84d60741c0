"""The operations on a shared job, each atomic: scripts that Redis runs.

All of them take the same keys. The job is a hash. The queue is a stream with a consumer group,
whose pending entries are the requests that processes hold. Answers and errors are streams of lines,
which the job counts: a server that may evict keys can lose one of them alone.

A script whose reply is lost is sent again: run twice, it must do no more than when run once.
"""

from __future__ import annotations

KEYS = ("job", "queue", "answers", "errors")

_HEAD = """
local job, queue, answers, errors = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function lacks(stream, count)
    return redis.call('XLEN', stream) < tonumber(redis.call('HGET', job, count) or '0')
end
local function is_gone()
    return redis.call('EXISTS', job, queue) < 2
        or lacks(answers, 'answers') or lacks(errors, 'errors')
end
"""

# ARGV: prefix of the prepared keys, digest and number of the requests, seconds to keep, numbers of
# prepared entries of the queue and of the answers. Returns digest and number of the job's requests,
# 'gone' if Redis has lost prepared entries.
CREATE = (
    _HEAD
    + """
local new = {queue = ARGV[1] .. 'queue', answers = ARGV[1] .. 'answers'}
if is_gone() then
    if redis.call('XLEN', new.queue) ~= tonumber(ARGV[5])
        or redis.call('XLEN', new.answers) ~= tonumber(ARGV[6]) then return {'gone'} end
    redis.call('DEL', job, queue, answers, errors)
    if redis.call('EXISTS', new.queue) == 1 then redis.call('RENAME', new.queue, queue) end
    if redis.call('EXISTS', new.answers) == 1 then redis.call('RENAME', new.answers, answers) end
    redis.call('XGROUP', 'CREATE', queue, 'processes', '0', 'MKSTREAM')
    redis.call('HSET', job, 'requests', ARGV[2], 'total', ARGV[3], 'round', 0,
        'answers', ARGV[6], 'errors', 0, 'began', redis.call('TIME')[1])
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
else
    redis.call('DEL', new.queue, new.answers)
end
return redis.call('HMGET', job, 'requests', 'total')
"""
)

# Returns digest and number of the job's requests, nothing if there is no such job.
FIND = (
    _HEAD
    + """
if is_gone() then return {} end
return redis.call('HMGET', job, 'requests', 'total')
"""
)

# ARGV: process, milliseconds after which a request is taken over, most takeovers, entries that the
# process holds: it works on them, even if it could not say so for a while. Returns an entry, the
# number of its request and 'new', 'taken', 'alone' (its last takeover, by a process that holds no
# other) or 'lost' (taken over too often); nothing if there is none; 'over' if all are done. Giving
# a request back is not counted.
TAKE = (
    _HEAD
    + """
if is_gone() then return {'gone'} end
local most, held = tonumber(ARGV[3]), {}
for place = 4, #ARGV do held[ARGV[place]] = true end
local new = redis.call('XREADGROUP', 'GROUP', 'processes', ARGV[1], 'COUNT', 1,
    'STREAMS', queue, '>')
if new then
    local entry = new[1][2][1]
    return {entry[1], entry[2][2], 'new'}
end
local waiting = redis.call('XPENDING', queue, 'processes', 'IDLE', ARGV[2], '-', '+', 64)
for _, one in ipairs(waiting) do
    local id, times = one[1], one[4] - 1
    if one[2] ~= 'given-back' then times = times + 1 end
    local how = times > most and 'lost' or times == most and 'alone' or 'taken'
    if not held[id] and (how ~= 'alone' or #ARGV == 3) then
        local entry = redis.call('XCLAIM', queue, 'processes', ARGV[1], ARGV[2], id,
            'RETRYCOUNT', math.min(times, most) + 1)[1]
        if entry then return {entry[1], entry[2][2], how} end
    end
end
local done = redis.call('XLEN', answers) + redis.call('XLEN', errors)
if done >= tonumber(redis.call('HGET', job, 'total')) then return {'over'} end
return {}
"""
)

# ARGV: entry, number of its request, 'answers' or 'errors', line. The line is kept unless another
# process has done the request.
FINISH = (
    _HEAD
    + """
if is_gone() then return 'gone' end
if redis.call('XACK', queue, 'processes', ARGV[1]) == 0 then return 'late' end
local to = ARGV[3] == 'answers' and answers or errors
redis.call('XADD', to, '*', 'n', ARGV[2], 'line', ARGV[4])
redis.call('HINCRBY', job, ARGV[3], 1)
return 'kept'
"""
)

# ARGV: process, its new name, milliseconds without a sign of life, seconds to keep, entries. An
# entry that another process has taken over stays with it.
HOLD = (
    _HEAD
    + """
if is_gone() then return 'gone' end
for place = 5, #ARGV do
    local id = ARGV[place]
    if #redis.call('XPENDING', queue, 'processes', id, id, 1, ARGV[1]) > 0 then
        redis.call('XCLAIM', queue, 'processes', ARGV[2], 0, id, 'IDLE', ARGV[3], 'JUSTID')
    end
end
for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, ARGV[4]) end
return 'held'
"""
)

# ARGV: last answer and last error that were read, most lines of each. Returns round, number of
# requests, of answers and of errors, seconds since the beginning, and the next answers and errors:
# of each at most 1 MiB, or one line, so that a command ends within its time.
READ = (
    _HEAD
    + """
if is_gone() then return 'gone' end
local about = redis.call('HMGET', job, 'round', 'total', 'began')
local function after(stream, last)
    local found, size, most = {}, 0, tonumber(ARGV[3])
    while #found < most do
        local group = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT',
            math.min(8, most - #found))
        for _, entry in ipairs(group) do
            size = size + #entry[2][4]
            if #found > 0 and size > 2^20 then return found end
            table.insert(found, entry)
            last = entry[1]
        end
        if #group == 0 then break end
    end
    return found
end
local latest = redis.call('TIME')[1]
local done = redis.call('XLEN', answers) + redis.call('XLEN', errors)
if done >= tonumber(about[2]) then
    latest = 0
    for _, stream in ipairs({answers, errors}) do
        for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)) do
            latest = math.max(latest, math.floor(tonumber(string.match(entry[1], '%d+')) / 1000))
        end
    end
end
return {tonumber(about[1]), tonumber(about[2]), redis.call('XLEN', answers),
    redis.call('XLEN', errors), math.max(0, latest - about[3]),
    after(answers, ARGV[1]), after(errors, ARGV[2])}
"""
)

# Puts the requests that ended in an error into the queue again.
RETRY = (
    _HEAD
    + """
if is_gone() then return 'gone' end
local failed = redis.call('XRANGE', errors, '-', '+')
for _, entry in ipairs(failed) do redis.call('XADD', queue, '*', 'n', entry[2][2]) end
redis.call('DEL', errors)
redis.call('HSET', job, 'errors', 0)
if #failed > 0 then redis.call('HINCRBY', job, 'round', 1) end
return 'again'
"""
)

# Adds entries to a prepared stream. ARGV: prefix of the prepared keys, 'queue' or 'answers',
# seconds to keep, number of entries before these, values. Values that are there are skipped.
PREPARE = """
local stream, field = ARGV[1] .. ARGV[2], ARGV[2] == 'queue' and 'n' or 'line'
local known = redis.call('XLEN', stream) - ARGV[4]
if known < 0 then return 'gone' end
for place = 5 + known, #ARGV do
    if field == 'n' then
        redis.call('XADD', stream, '*', 'n', ARGV[place])
    else
        redis.call('XADD', stream, '*', 'n', '', 'line', ARGV[place])
    end
end
redis.call('EXPIRE', stream, ARGV[3])
return 'prepared'
"""
