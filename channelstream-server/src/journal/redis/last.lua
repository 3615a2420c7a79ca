-- What other scripts begin with: the id of the newest entry that a journal ever held; nil if there is none.

local function last_id(journal)
    if redis.call('EXISTS', journal) == 0 then
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

