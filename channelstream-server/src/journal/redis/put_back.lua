-- Puts entries at their old positions, if the journal ends where it is expected to end. Returns how many it put back.
--
-- Lots of entries follow each other on a line. If one of them fails, so do all that come after it, and there is no
-- hole.
--
-- KEYS: the journal. ARGV: the last id, then the id and the bytes of each entry.

local journal = KEYS[1]

local last
if redis.call('EXISTS', journal) == 1 then
    local info = redis.call('XINFO', 'STREAM', journal)
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            last = info[at + 1]
        end
    end
end
if last ~= ARGV[1] then
    return 0
end

for at = 2, #ARGV, 2 do
    redis.call('XADD', journal, ARGV[at], 'e', ARGV[at + 1])
end
return (#ARGV - 1) / 2
