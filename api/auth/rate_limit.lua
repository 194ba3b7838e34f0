-- At most ARGV[1] requests in any ARGV[2] microseconds. The list has the moment of each that counted, oldest first, by this
-- server's clock, the only one that all processes share. Returns: whether it counts, how many are left, microseconds until the
-- oldest leaves; of one that does not count, until another would.
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
while oldest and oldest <= now - window do
    redis.call('LPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
end
local used = redis.call('LLEN', KEYS[1])
local counts = used < limit
if counts then
    redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
    used = used + 1
    oldest = oldest or now
end
if not counts then
    -- more than the limit, where it was higher a moment ago
    oldest = tonumber(redis.call('LINDEX', KEYS[1], used - limit))
end
return { counts and 1 or 0, math.max(0, limit - used), oldest + window - now }
