-- Makes a snapshot that was stored in chunks the newest one, if the epoch is still the same and it is newer than the
-- one before, behind which the journal is cut. Returns the position and the number of chunks of what is
-- replaced and can go, or nothing.
--
-- KEYS: the journal, the head, and the chunks. ARGV: the epoch, and the position of the snapshot.

local journal, head = KEYS[1], KEYS[2]
local epoch, position = unpack(ARGV)

local function parts(id)
    local before, number = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(before), tonumber(number)
end

local old, chunks = unpack(redis.call('HMGET', head, 'snapshot', 'chunks'))
if redis.call('HGET', head, 'epoch') ~= epoch then
    return {}
end
for at = 3, #KEYS do
    if redis.call('EXISTS', KEYS[at]) == 0 then
        return {}
    end
end
if old then
    local old_epoch, old_number = parts(old)
    local new_epoch, new_number = parts(position)
    if new_epoch < old_epoch or new_epoch == old_epoch and new_number <= old_number then
        return {}
    end
end

for at = 3, #KEYS do
    redis.call('PERSIST', KEYS[at])
end
redis.call('HSET', head, 'snapshot', position, 'chunks', #KEYS - 2)
if not old then
    return {}
end
-- Who loads the old one now still finds what follows it.
redis.call('XTRIM', journal, 'MINID', old)
return {old, chunks}
