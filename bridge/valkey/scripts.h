// The Lua scripts of the bus: rare work that must happen in one step, many ids per call; and the one per request that an
// operator may ask for, kCharge. KEYS[1] is the queue, ARGV[1] the group; what else they take stands above each. None
// touches keys of two services (cluster slots).
#pragma once

#include <string>

namespace outrigger::valkey::scripts {

// Entry ids in their order: later(a, b).
inline const std::string kIdOrder = R"lua(
local function parts(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local function later(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am > bm or (am == bm and as > bs)
end
)lua";

// `last`: the last id the group was given; nil without that group. The stream must exist.
inline const std::string kLastDelivered = R"lua(
local last
for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local named, id
  for i = 1, #g, 2 do
    if g[i] == 'name' then named = g[i + 1] elseif g[i] == 'last-delivered-id' then id = g[i + 1] end
  end
  if named == ARGV[1] then last = id end
end
)lua";

// ARGV[2] consumer to add; may be empty. A stream that has entries but not the group has lost it: what of them was delivered,
// run and settled nobody knows any more. They go to `parked` with a count of one, so that the next claim makes it two, which
// means "may have been begun".
inline constexpr char kJoinGroup[] = R"lua(
local has_group = false
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    for i = 1, #g, 2 do
      if g[i] == 'name' and g[i + 1] == ARGV[1] then has_group = true end
    end
  end
end
if not has_group then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
  while redis.call('XLEN', KEYS[1]) > 0 do
    local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], 'parked', 'COUNT', 16, 'STREAMS', KEYS[1], '>')
    if not read or #read == 0 or #read[1][2] == 0 then break end
    for _, entry in ipairs(read[1][2]) do
      redis.call('XCLAIM', KEYS[1], ARGV[1], 'parked', 0, entry[1], 'IDLE', 3600000, 'RETRYCOUNT', 1, 'JUSTID')
    end
  end
end
if ARGV[2] ~= '' then redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
return 1)lua";

// ARGV[2] consumer, then ids. Owner-checked: XCLAIM itself ignores who owns an entry.
inline constexpr char kRenew[] = R"lua(
local kept = {}
for i = 3, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #p == 1 and p[1][2] == ARGV[2] then
    if #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID') == 1 then kept[#kept + 1] = ARGV[i] end
  end
end
return kept)lua";

// ARGV[2] consumer, ARGV[3] idle time to set, then id, count as claimed, new count.
inline constexpr char kHandBack[] = R"lua(
local moved = {}
for i = 4, #ARGV, 3 do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #p == 1 and p[1][2] == ARGV[2] and p[1][4] == tonumber(ARGV[i + 1]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], 'parked', 0, ARGV[i], 'IDLE', ARGV[3], 'RETRYCOUNT', ARGV[i + 2], 'JUSTID')
    moved[#moved + 1] = ARGV[i]
  end
end
return moved)lua";

// ARGV[2] consumer, ARGV[3] limit, then ids in hand. Never XREADGROUP 0, which raises counts and resets idle times.
inline constexpr char kOwnPending[] = R"lua(
local in_hand = {}
for i = 4, #ARGV do in_hand[ARGV[i]] = true end
local limit = tonumber(ARGV[3])
local found = {}
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', limit + #ARGV - 3, ARGV[2])) do
  if not in_hand[p[1]] and #found < limit then
    local entry = redis.call('XRANGE', KEYS[1], p[1], p[1])
    if #entry == 1 then
      found[#found + 1] = {p[1], p[4], entry[1][2]}
    else
      redis.call('XACK', KEYS[1], ARGV[1], p[1])
    end
  end
end
return found)lua";

// ARGV[2] consumer, ARGV[3] expected owner, then id, least idle time. The plain XCLAIM raises the delivery count.
inline constexpr char kClaim[] = R"lua(
local claimed = {}
for i = 4, #ARGV, 2 do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #p == 1 and p[1][2] == ARGV[3] and p[1][3] >= tonumber(ARGV[i + 1]) then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i])
    if #entry == 1 and entry[1] then claimed[#claimed + 1] = {ARGV[i], p[1][4] + 1, entry[1][2]} end
  end
end
return claimed)lua";

// ARGV[2] '1': only what was certainly not begun, then ids, ascending. What is undelivered is first read for `parked` in
// order, since only the oldest entries can be
// read: others' stay parked, untouched and free for any consumer. The highest delivered entry is not deleted while an
// older one is there (the group's lag would be unknown), but left to sweep().
inline const std::string kTake = kIdOrder + kLastDelivered + R"lua(
local taken = {}
if not last then return taken end
for i = 3, #ARGV do
  local budget = 1000
  while later(ARGV[i], last) and budget > 0 do
    budget = budget - 1
    local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], 'parked', 'COUNT', 1, 'STREAMS', KEYS[1], '>')
    if not read or #read == 0 or #read[1][2] == 0 then break end
    last = read[1][2][1][1]
    redis.call('XCLAIM', KEYS[1], ARGV[1], 'parked', 0, last, 'IDLE', 3600000, 'RETRYCOUNT', 0, 'JUSTID')
  end
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #p == 1 and p[1][2] == 'parked' and (ARGV[2] == '0' or p[1][4] == 0) then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    taken[#taken + 1] = ARGV[i]
  end
end
for _, id in ipairs(taken) do
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if later(last, id) or (#first == 1 and first[1][1] == id) then redis.call('XDEL', KEYS[1], id) end
end
return taken)lua";

// ARGV[2] this consumer, ARGV[3] idle time after which a consumer that owns nothing is removed, then ids that are
// acknowledged and held back. Returns those of them that must be held on.
inline const std::string kSweep = kIdOrder + R"lua(
local held = {}
if redis.call('EXISTS', KEYS[1]) == 0 then return held end
)lua" + kLastDelivered + R"lua(
if not last then return held end
for i = 4, #ARGV do
  if later(last, ARGV[i]) then redis.call('XDEL', KEYS[1], ARGV[i]) end
end
for _ = 1, 1000 do
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  if #first == 0 or later(first[1][1], last) then break end
  if #redis.call('XPENDING', KEYS[1], ARGV[1], first[1][1], first[1][1], 1) > 0 then break end
  redis.call('XDEL', KEYS[1], first[1][1])
end
for i = 4, #ARGV do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 1 then held[#held + 1] = ARGV[i] end
end
local dead_after = tonumber(ARGV[3])
if dead_after > 0 then
  for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local named, pending, idle
    for i = 1, #c, 2 do
      if c[i] == 'name' then named = c[i + 1] elseif c[i] == 'pending' then pending = c[i + 1]
      elseif c[i] == 'idle' then idle = c[i + 1] end
    end
    if named ~= ARGV[2] and named ~= 'parked' and pending == 0 and idle > dead_after then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], named)
    end
  end
end
return held)lua";

// KEYS: the work streams of one service. For each: length, pending, parked, undelivered (-1: not known), age in ms of the
// oldest unacknowledged entry (-1: none). Reads only, and no body leaves the server. The server's own `lag` is null after
// some deletions and, in Redis 7.0, wrong after others: what follows from ids alone goes first.
inline constexpr char kQueueStatistics[] = R"lua(
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function parts(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local function later(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am > bm or (am == bm and as > bs)
end
local function first_after(key, id)
  local found = redis.call('XRANGE', key, id and ('(' .. id) or '-', '+', 'COUNT', 1)
  return found[1] and found[1][1]
end
local result = {}
for _, key in ipairs(KEYS) do
  local length, pending, parked, lag, oldest = 0, 0, 0, 0, false
  if redis.call('EXISTS', key) == 1 then
    length = redis.call('XLEN', key)
    local group
    for _, g in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      local fields = {}
      for i = 1, #g, 2 do fields[g[i]] = g[i + 1] end
      if fields['name'] == ARGV[1] then group = fields end
    end
    if not group then
      lag = length
      oldest = first_after(key)
    else
      local summary = redis.call('XPENDING', key, ARGV[1])
      pending = summary[1]
      if pending > 0 then
        oldest = summary[2]
        for _, consumer in ipairs(summary[4]) do
          if consumer[1] == 'parked' then parked = tonumber(consumer[2]) end
        end
      end
      local last = group['last-delivered-id']
      local undelivered = first_after(key, last)
      if not undelivered then
        lag = 0
      else
        if not oldest or later(oldest, undelivered) then oldest = undelivered end
        lag = group['lag']
        if first_after(key) == undelivered then lag = length
        elseif not lag or lag < 1 or lag > length then lag = -1 end
      end
    end
  end
  result[#result + 1] = length
  result[#result + 1] = pending
  result[#result + 1] = parked
  result[#result + 1] = lag
  result[#result + 1] = oldest and math.max(0, now - (parts(oldest))) or -1
end
return result)lua";

// ARGV[2] consumer. DELCONSUMER throws pending entries away: only when there are none.
inline constexpr char kRemoveConsumer[] = R"lua(
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1)lua";

// ARGV[2] idle time after which a consumer counts as gone. A narrow address dies with its last reader. One that is about to
// read again finds it missing and makes it anew.
inline constexpr char kRemoveUnused[] = R"lua(
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if #redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1) > 0 then return 0 end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if #groups ~= 1 then return 0 end
for i = 1, #groups[1], 2 do
  if groups[1][i] == 'name' and groups[1][i + 1] ~= ARGV[1] then return 0 end
  if groups[1][i] == 'pending' and groups[1][i + 1] > 0 then return 0 end
end
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local named, idle
  for i = 1, #c, 2 do
    if c[i] == 'name' then named = c[i + 1] elseif c[i] == 'idle' then idle = c[i + 1] end
  end
  if named ~= 'parked' and idle <= tonumber(ARGV[2]) then return 0 end
end
return redis.call('DEL', KEYS[1]))lua";

// KEYS[1] queue, KEYS[2] stream of dead letters (of the same service, and so of the same slot); ARGV[1] id, ARGV[2] most
// entries, ARGV[3] most bytes, then names and values of fields to add. The entry is copied where it stands: its body need not
// travel, and what its sidecar does not know of it stays. A server that does not permit MEMORY USAGE keeps to the count.
inline constexpr char kBury[] = R"lua(
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #entry == 0 then return false end
local fields = entry[1][2]
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[2], '*', unpack(fields))
for _ = 1, 1000 do
  local used = redis.pcall('MEMORY', 'USAGE', KEYS[2], 'SAMPLES', 0)
  local length = redis.call('XLEN', KEYS[2])
  if type(used) ~= 'number' or used <= tonumber(ARGV[3]) or length <= 1 then break end
  redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', length - math.ceil(length / 16))
end
return id)lua";

// KEYS[1] sorted set; ARGV[1] channel, ARGV[2] most members, then expiry in ms and text of each. Told first: who is there
// hears it also where the set cannot be written.
inline constexpr char kCancel[] = R"lua(
for i = 4, #ARGV, 2 do redis.call('PUBLISH', ARGV[1], ARGV[i]) end
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[2] - 1)
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[1], last[2]) end
return #ARGV)lua";

// KEYS[1] stream; ARGV[1] TTL in ms, ARGV[2] cursor. A group made and destroyed leaves an empty stream that NOMKSTREAM
// accepts. XSETID keeps new ids above the cursor of a reader that is already there.
inline const std::string kEnsureStream = kIdOrder + R"lua(
local made = 0
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 0 then
  made = 1
  redis.call('XGROUP', 'CREATE', KEYS[1], 'made', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[1], 'made')
else
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
if later(ARGV[2], last) then redis.call('XSETID', KEYS[1], ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return made)lua";

// KEYS: buckets of rate limits; ARGV: interval in microseconds and burst of each. base/gcra.h in Lua: a key holds the
// theoretical arrival time in microseconds since 1970, exact in a double until 2255. All are read before one is written.
inline constexpr char kCharge[] = R"lua(
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local backlogs, admitted = {}, true
for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[2 * i - 1])
  local room = interval * ARGV[2 * i]
  local ahead = (tonumber(redis.call('GET', key)) or now) - now
  backlogs[i] = math.max(0, math.min(ahead, room))
  admitted = admitted and backlogs[i] + interval <= room
end
if admitted then
  for i, key in ipairs(KEYS) do
    local ahead = backlogs[i] + ARGV[2 * i - 1]
    redis.call('SET', key, string.format('%.0f', now + ahead), 'PX', string.format('%.0f', math.ceil(ahead / 1000)))
  end
end
return backlogs)lua";

}  // namespace outrigger::valkey::scripts
