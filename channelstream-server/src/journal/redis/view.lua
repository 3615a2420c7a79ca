-- Returns the epoch, the run and the epochs of the head, and the id of the newest entry that the journal ever
-- held; each is "" if there is none.
--
-- KEYS: the journal, the head.

local journal, head = KEYS[1], KEYS[2]
local found = redis.call('HMGET', head, 'epoch', 'run', 'epochs')
local last = ''
if redis.call('EXISTS', journal) == 1 then
    local info = redis.call('XINFO', 'STREAM', journal)
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            last = info[at + 1]
        end
    end
end
return {found[1] or '', found[2] or '', found[3] or '', last}
