-- Puts entries at their old positions, if the journal ends where it is expected to end. Returns how many it put back.
--
-- Lots of entries follow each other on a line. If one of them fails, so do all that come after it, and there is no
-- hole.
--
-- KEYS: the journal. ARGV: the last id, then the id and the bytes of each entry.

local journal = KEYS[1]

if last_id(journal) ~= ARGV[1] then
    return 0
end

for at = 2, #ARGV, 2 do
    redis.call('XADD', journal, ARGV[at], 'e', ARGV[at + 1])
end
return (#ARGV - 1) / 2
