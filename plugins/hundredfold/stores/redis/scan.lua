#!lua flags=no-writes
-- Returns the highest version, and the keys between two bounds with their records, all of one moment.
--
-- KEYS: the records and the order, see commit.lua. ARGV: where to begin, where to end, how many, '' or 'REV'.

local records, order = KEYS[1], KEYS[2]
local CHUNK = 1000

local clock = redis.call('HGET', records, '')
if redis.call('ZCARD', order) ~= redis.call('HLEN', records) - (clock and 1 or 0) then
  return redis.error_reply('DISORDER the records and their order do not fit')
end

local range = {'ZRANGE', order, ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3]}
if ARGV[4] == 'REV' then
  range[#range + 1] = 'REV'
end
local keys, found = redis.call(unpack(range)), {}
for from = 1, #keys, CHUNK do
  local some = redis.call('HMGET', records, unpack(keys, from, math.min(from + CHUNK - 1, #keys)))
  for i = 1, #some do
    found[#found + 1] = some[i]
  end
end
return {clock or '', keys, found}
