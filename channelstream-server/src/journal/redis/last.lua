-- What other scripts begin with. Somebody else may have stored something of another type under the keys.

local function is(key, kind)
    return redis.call('TYPE', key).ok == kind
end

-- Returns the id of the newest entry that a journal ever held; nil if there is none.
local function last_id(journal)
    if not is(journal, 'stream') then
        return nil
    end
    local info = redis.call('XINFO', 'STREAM', journal)
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            return info[at + 1]
        end
    end
    return nil
end

-- Returns the newest epoch; "" if there is none, or a number behind which none could begin.
local function epoch_of(head)
    local epoch = is(head, 'hash') and redis.call('HGET', head, 'epoch') or ''
    if #epoch > 18 or not string.match(epoch, '^%d+$') then
        return ''
    end
    return epoch
end

