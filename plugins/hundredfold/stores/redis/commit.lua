#!lua
-- Commits batches, as `Store.commit` says; a commit that was made already is answered as the first time.
--
-- KEYS: the records, a hash: behind 8 bytes of version is the value, and field '' has the highest version ever given;
--       their keys in order, a sorted set; the last answer to this opener.
-- ARGV: the number of this commit, of the last one whose answer arrived, and the highest version its opener has seen;
--       the seconds to keep the answer; the guard's key and version, which is '' without a guard;
--       then of each batch a letter for each write, 'p' to put and 'd' to delete, and of each write its key, the
--       version that it expects, which is '' for any, and if it puts, the value.
--
-- Nothing is rolled back when a script fails, so everything that can fail comes before the first write.

local records, order, opener = KEYS[1], KEYS[2], KEYS[3]
local number, answered, seen = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local guard, guarded = ARGV[5], ARGV[6]
local ABSENT = struct.pack('>I8', 0)
local PUT = string.byte('p')
local CHUNK = 1000 -- arguments of one call; Lua's stack has room for some thousands

local answer = redis.call('GET', opener)
local last = answer and struct.unpack('>I8', answer) or 0
if last == number then
  return answer
elseif last > number then
  return redis.error_reply('STALE this commit was given up long ago')
end

local clock = redis.call('HGET', records, '')
local version = clock and struct.unpack('>I8', clock) or 0
if last < answered or version < seen then
  return redis.error_reply('BEHIND what was acknowledged is not there')
elseif redis.call('ZCARD', order) ~= redis.call('HLEN', records) - (clock and 1 or 0) then
  return redis.error_reply('DISORDER the records and their order do not fit')
end

local versions, values = {}, {} -- by key: as stored or as changed; where in ARGV what it changes to is, or false

local function version_of(key)
  if not versions[key] then
    local record = redis.call('HGET', records, key)
    versions[key] = record and string.sub(record, 1, 8) or ABSENT
  end
  return versions[key]
end

if guarded ~= '' and version_of(guard) ~= guarded then
  return redis.error_reply('FENCED the guard has another version')
end

local function first_conflict(kinds, at)
  local wrong
  for i = 1, #kinds do
    if not wrong and ARGV[at + 1] ~= '' and version_of(ARGV[at]) ~= ARGV[at + 1] then
      wrong = ARGV[at]
    end
    at = at + (string.byte(kinds, i) == PUT and 3 or 2)
  end
  return wrong, at
end

local function change(kinds, at, stamp)
  for i = 1, #kinds do
    local put = string.byte(kinds, i) == PUT
    versions[ARGV[at]] = put and stamp or ABSENT
    values[ARGV[at]] = put and at + 2
    at = at + (put and 3 or 2)
  end
end

local before, conflicts, batch, at = version, {}, 0, 7
while ARGV[at] do
  local wrong, following = first_conflict(ARGV[at], at + 1)
  if wrong then
    conflicts[#conflicts + 1] = struct.pack('>I4I4', batch, #wrong) .. wrong
  else
    version = version + 1
    change(ARGV[at], at + 1, struct.pack('>I8', version))
  end
  batch, at = batch + 1, following
end

local puts, members, gone = {'', struct.pack('>I8', version)}, {}, {}
for key, value in pairs(values) do
  if value then
    puts[#puts + 1], puts[#puts + 2] = key, versions[key] .. ARGV[value]
    members[#members + 1], members[#members + 2] = 0, key
  else
    gone[#gone + 1] = key
  end
end

local function in_chunks(command, name, arguments)
  for from = 1, #arguments, CHUNK do
    redis.call(command, name, unpack(arguments, from, math.min(from + CHUNK - 1, #arguments)))
  end
end

in_chunks('HSET', records, puts)
in_chunks('ZADD', order, members)
in_chunks('HDEL', records, gone)
in_chunks('ZREM', order, gone)
answer = struct.pack('>I8I8', number, before) .. table.concat(conflicts)
redis.call('SET', opener, answer, 'EX', ARGV[4])
return answer
