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

-- Whether one id is beyond another. Numbers of this size are exact.
local function is_beyond(one, other)
    local epoch, number = parts(one)
    local other_epoch, other_number = parts(other)
    return epoch > other_epoch or epoch == other_epoch and number > other_number
end

if epoch_of(head) ~= epoch then
    return {}
end
local old, chunks = unpack(redis.call('HMGET', head, 'snapshot', 'chunks'))
local last = last_id(journal)
-- What somebody else has written there is none.
if old and (not parts(old) or not tonumber(chunks) or last and is_beyond(old, last)) then
    old = nil
end
for at = 3, #KEYS do
    if redis.call('EXISTS', KEYS[at]) == 0 then
        return {}
    end
end
if old and not is_beyond(position, old) then
    return {}
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
