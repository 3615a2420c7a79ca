-- Notes how far a node is, and returns the claims on this run that are young enough: node, position, node, ...
--
-- KEYS: the claims. ARGV: the run of this Redis; the node; its position; for how many microseconds a claim is good.

local claims = KEYS[1]
local run, node, position, good = unpack(ARGV)
if not is(claims, 'hash') then
    redis.call('DEL', claims)
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- The time as text has all its digits only if it is formatted.
redis.call('HSET', claims, node, string.format('%.0f %s %s', now, position, run))
redis.call('PEXPIRE', claims, 60000)

local found = {}
local all = redis.call('HGETALL', claims)
for at = 1, #all, 2 do
    local since, claimed, on = string.match(all[at + 1], '^(%d+) (%S+) (.*)$')
    if not since or tonumber(since) + good <= now then
        redis.call('HDEL', claims, all[at])
    elseif on == run then
        found[#found + 1] = all[at]
        found[#found + 1] = claimed
    end
end
return found
