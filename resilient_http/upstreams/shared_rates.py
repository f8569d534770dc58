"""Shared rates: the token buckets that processes lease from, in Redis. The decisions of a process are LeasedBucket's.

    PREFIX:rate:UPSTREAM  a hash
        level, at     what lies there, and when that was so
        crowd, until  how many processes there were before Redis was away, and until when they are waited for
        PROCESS       "held wants seen served": what it holds, what it would like besides, when it last asked, was given

The key expires once the bucket would be full again with nobody there. All instants are Redis's own clock. A round is
one write for all upstreams together.

What lies there and what all processes hold is never more than the burst: it drips in up to that alone. Where there is
too little for all, each takes a part by the time since it was last given something, and who waited longest is first.
"""

from __future__ import annotations

import time
from typing import Any

from resilient_http.state.leased_bucket import Answer, Ask, LeasedBucket
from resilient_http.upstreams.registry import Registry
from resilient_http.upstreams.sharing import Sharing

NOW = "local time = redis.call('time')\nlocal now = time[1] + time[2] / 1000000\n"

LEASE = (
    NOW
    + """
local me, rate, burst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local expires, fresh = tonumber(ARGV[4]), tonumber(ARGV[5])
local held, back, want, spent = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local known, crowd, settles = ARGV[10] == '1', tonumber(ARGV[11]), tonumber(ARGV[12])
local bucket, others = {}, {}
local had, served = 0, 0
local fields = redis.call('hgetall', KEYS[1])
for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    local holds, wants, seen, given = string.match(value, '^(%S+) (%S+) (%S+) (%S+)$')
    if not holds then
        bucket[name] = tonumber(value)
    elseif name == me then
        had, served = tonumber(holds), tonumber(given)
    elseif now - tonumber(seen) > expires then
        redis.call('hdel', KEYS[1], name)
    else
        table.insert(others, {tonumber(holds), tonumber(wants), tonumber(seen), tonumber(given)})
    end
end

local elsewhere, claimants, ahead = 0, 0, 0
local unserved = math.max(0, math.min(now - served, expires))
local all_unserved = unserved
for _, other in ipairs(others) do
    elsewhere = elsewhere + other[1]
    if other[2] > 0 and now - other[3] <= fresh then
        claimants = claimants + 1
        if other[4] < served then ahead = ahead + 1 end
        all_unserved = all_unserved + math.max(0, math.min(now - other[4], expires))
    end
end

-- Known processes without a bucket: it was lost, and with it what they have used.
local level = bucket.level or (known and 0 or burst)
local awaited = bucket['until'] and now < bucket['until'] and bucket.crowd or 0
if crowd > awaited then
    awaited = crowd
    redis.call('hset', KEYS[1], 'crowd', crowd, 'until', string.format('%.6f', now + settles))
end
-- Those that are not back yet go on by themselves, with their shares of the rate.
local passed = math.max(0, now - (bucket.at or now))
local drip = passed * rate * math.min(1, (#others + 1) / math.max(1, awaited))
level = math.max(level, math.min(level + drip, burst - elsewhere - had))
if spent > 0 then level = math.max(level - spent, math.min(level, 0) - 1) end
level = math.min(level + back, burst - elsewhere - held)

local granted = 0
if want > 0 and level >= 1 + ahead then
    -- In proportion to the time without: so all have alike, whenever they ask.
    local part = claimants == 0 and 1 or unserved / math.max(all_unserved, 0.000001)
    local due = level * part
    granted = math.min(want, math.max(1, math.floor(due)))
    -- What was rounded away is not forgotten.
    served = now - (granted < want and unserved * (due - granted) / math.max(due, granted) or 0)
    level = level - granted
end
redis.call('hset', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.6f', now),
    me, string.format('%d %d %.6f %.6f', held + granted, want - granted, now, served))
redis.call('pexpire', KEYS[1], math.ceil(1000 * (2 * expires + burst / rate)))
return {granted, #others + 1, claimants, string.format('%.6f', level)}
"""
)
AWAITED = 1.5  # times max_backoff: by then every process has tried


class SharedRates:
    """The rate limits of one process that it shares. A Sharer.

    Args:
        sharing: Whose thread runs it.
        registry: The upstreams.
    """

    def __init__(self, sharing: Sharing, registry: Registry) -> None:
        self._sharing = sharing
        self._registry = registry
        self._prefix = f"{sharing.settings.prefix}:rate"

    def exchange(self, redis: Any) -> None:
        """One round: tell what is held and used, and lease what is wanted."""
        buckets = self._buckets()
        if not buckets:
            return
        asked = time.monotonic()
        asks = {name: bucket.ask(asked) for name, bucket in buckets.items()}
        pipe = redis.pipeline(transaction=False)
        for name, ask in asks.items():
            self._lease(pipe, name, buckets[name], ask)
        for (name, ask), (granted, processes, claimants, level) in zip(asks.items(), pipe.execute(), strict=True):
            buckets[name].answer(ask, Answer(granted, processes, claimants, float(level)), asked)

    def alone(self) -> None:
        """Every bucket goes on by itself."""
        for bucket in self._buckets().values():
            bucket.go_alone()

    def farewell(self, redis: Any) -> None:
        """What this process holds goes back, and it is forgotten."""
        pipe = redis.pipeline(transaction=False)
        for name, bucket in self._buckets().items():
            last = bucket.ask(time.monotonic())
            bucket.go_alone()
            self._lease(pipe, name, bucket, Ask(back=last.held + last.back, spent=last.spent, known=last.known))
            pipe.hdel(f"{self._prefix}:{name}", self._sharing.process)
        pipe.execute()

    def status(self) -> dict[str, Any]:
        """JSON-able: who shares each rate."""
        return {
            "rates": {
                name: {"processes": bucket.processes, "alone": bucket.alone} for name, bucket in self._buckets().items()
            }
        }

    def _buckets(self) -> dict[str, LeasedBucket]:
        return {
            upstream.name: upstream.bucket
            for upstream in self._registry.all().values()
            if isinstance(upstream.bucket, LeasedBucket)
        }

    def _lease(self, pipe: Any, name: str, bucket: LeasedBucket, ask: Ask) -> None:
        root = self._sharing.settings
        pipe.eval(
            LEASE, 1, f"{self._prefix}:{name}",
            self._sharing.process, bucket.rate, bucket.burst, root.expires, 2 * root.interval,
            ask.held, ask.back, ask.want, ask.spent, int(ask.known), ask.crowd, AWAITED * root.max_backoff,
        )  # fmt: skip
