-- Allows at most ARGV[1] requests in any ARGV[2] microseconds, of ARGV[3] that came together. The list KEYS[1] has the time of each
-- allowed request, oldest first, by this server's clock, which all processes share. Returns: how many of the requests are allowed,
-- the remaining requests, the microseconds until the oldest request leaves the window, and those until a request that was rejected
-- now would be allowed (the same if none was).
local limit, window, requests = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
while oldest and oldest <= now - window do
    redis.call('LPOP', KEYS[1])
    oldest = tonumber(redis.call('LINDEX', KEYS[1], 0))
end
local used = redis.call('LLEN', KEYS[1])
local allowed = math.max(0, math.min(requests, limit - used))
if allowed > 0 then
    local time_text = string.format('%.0f', now)
    for pushed = 0, allowed - 1, 100 do
        local times = {}
        for place = 1, math.min(100, allowed - pushed) do
            times[place] = time_text
        end
        redis.call('RPUSH', KEYS[1], unpack(times))
    end
    redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
    used = used + allowed
    oldest = oldest or now
end
local next_free = oldest
if allowed < requests then
    -- there can be more than the limit, if it was lowered a moment ago
    next_free = tonumber(redis.call('LINDEX', KEYS[1], used - limit))
end
return { allowed, math.max(0, limit - used), oldest + window - now, next_free + window - now }
