-- Returns the epoch, the run and the epochs of the head, and the id of the newest entry that the journal ever
-- held; each is "" if there is none.
--
-- KEYS: the journal, the head.

local journal, head = KEYS[1], KEYS[2]
local epoch, last = epoch_of(head), last_id(journal) or ''
if epoch == '' then
    return {'', '', '', last}
end
local found = redis.call('HMGET', head, 'run', 'epochs')
return {epoch, found[1] or '', found[2] or '', last}
