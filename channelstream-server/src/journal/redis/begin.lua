-- Begins an epoch in one step, or changes nothing. Returns 1 if it began.
--
-- It does so only if the head is as it was seen, so that nobody else has begun since, and if the journal ends
-- where it was seen to end, so that nobody has put back anything since.
--
-- KEYS: the journal, the head, and the chunks of the snapshot that replaces all entries, if there is one.
-- ARGV: the epoch of the head as it was seen, or ""; the last id as it was seen, "", or "*" for any; the new epoch; the run of
-- this Redis; the list of epochs with the new one; the entry that begins it; the position of the snapshot, or "".

local journal, head = KEYS[1], KEYS[2]
local seen, expected, epoch, run, epochs, entry, snapshot = unpack(ARGV)

if epoch_of(head) ~= seen then
    return 0
end

if expected ~= '*' and (last_id(journal) or '') ~= expected then
    return 0
end
for at = 3, #KEYS do
    if redis.call('EXISTS', KEYS[at]) == 0 then
        return 0
    end
end

if not is(head, 'hash') then
    redis.call('DEL', head)
end
if snapshot ~= '' then
    redis.call('DEL', journal)
    for at = 3, #KEYS do
        redis.call('PERSIST', KEYS[at])
    end
    redis.call('HSET', head, 'snapshot', snapshot, 'chunks', #KEYS - 2)
end
redis.call('XADD', journal, epoch .. '-0', 'e', entry)
redis.call('HSET', head, 'epoch', epoch, 'run', run, 'epochs', epochs)
return 1
