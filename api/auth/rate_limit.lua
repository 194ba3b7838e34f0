-- Allows at most ARGV[1] requests in any ARGV[2] microseconds. The list KEYS[1] has the time of each allowed request, oldest
-- first, by this server's clock, which all processes share. Returns: 1 if the request is allowed, the remaining requests, and the
-- microseconds until the oldest request leaves the window (for a rejected request: until another one would be allowed).
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
while oldest and oldest <= now - window do
    redis.call('LPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
end
local used = redis.call('LLEN', KEYS[1])
local is_allowed = used < limit
if is_allowed then
    redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
    used = used + 1
    oldest = oldest or now
end
if not is_allowed then
    -- there can be more than the limit, if it was lowered a moment ago
    oldest = tonumber(redis.call('LINDEX', KEYS[1], used - limit))
end
return { is_allowed and 1 or 0, math.max(0, limit - used), oldest + window - now }
