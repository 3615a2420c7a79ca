-- Returns the epoch, the run and the epochs of the head, and the id of the newest entry that the journal ever
-- held; each is "" if there is none.
--
-- KEYS: the journal, the head.

local journal, head = KEYS[1], KEYS[2]
local found = redis.call('HMGET', head, 'epoch', 'run', 'epochs')
return {found[1] or '', found[2] or '', found[3] or '', last_id(journal) or ''}
