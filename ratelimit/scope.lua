-- One worker's exchange with a scope: it reports what it did since the last one, gives back what it does not need, and
-- takes what it may use until the next one. KEYS[1] is the scope's state, ARGV[1] the ask, ARGV[2] the channel on which
-- all workers of the scope hear of a hold. Times are in milliseconds of this Redis, amounts in the order requests, input
-- tokens, output tokens, both together.
local KINDS, OUTPUT, TOKENS, CONCURRENCY, HOLD = 4, 3, 4, 5, 6
local ANSWERED, LATENCY, REFUSED, PRODUCED = 1, 2, 4, 9
local DEAD, KEPT = 3000, 600000

-- First a write that a full Redis allows; it then allows the others.
redis.call('PERSIST', KEYS[1])
redis.call('PEXPIRE', KEYS[1], KEPT)
local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local FORMAT = 1
local state = redis.pcall('GET', KEYS[1])
if type(state) ~= 'string' then state = false end
if ask.leave and not state then return false end
local ok, s = pcall(cjson.decode, state or '')
if ok then
  ok = type(s) == 'table' and s.format == FORMAT and type(s.at) == 'number' and type(s.clock) == 'number'
  for _, part in ipairs({'level', 'used', 'expected', 'done', 'denied', 'seen', 'full', 'workers', 'runs', 'set'}) do
    ok = ok and type(s[part]) == 'table'
  end
end
if not ok then
  if not ask.set then return '{"lost":true}' end
  -- A state that Redis lost is begun anew with empty buckets: what was used before nobody knows. A worker that never had
  -- one begins it with full ones.
  s = {
    format = FORMAT, at = now, level = {0, 0, 0, 0}, workers = {}, runs = {}, clock = 0, steered = 0, held_until = 0, reason = '',
    used = {0, 0, 0, 0}, done = {0, 0, 0, 0, 0, 0, 0, 0, 0}, denied = {0, 0, 0, 0, 0}, seen = {}, expected = {0, 0, 0, 0},
    full = {0, 0, 0, 0}, rises = 0, set = ask.set,
  }
  for k = 1, KINDS do
    s.seen[k] = {at = 0, limit = 0, left = -1}
    if ask.first then s.level[k] = ask.set.burst[k] end
  end
end
if ask.set and ask.set.version > s.set.version then
  for k = 1, KINDS do
    -- A debt is so much time to wait: at a lower rate it is fewer units.
    local before, after = s.set.rate[k], ask.set.rate[k]
    if s.level[k] < 0 and after > 0 and after < before then s.level[k] = s.level[k] * after / before end
  end
  s.set = ask.set
end
local set = s.set

if now < s.at then
  -- The clock went back, as it may when another server takes over: what was ahead of it is over.
  s.held_until, s.steered = 0, 0
  for k = 1, KINDS do s.seen[k].at, s.full[k] = 0, 0 end
  for _, w in pairs(s.workers) do w.at, w.back = math.min(w.at, now), math.min(w.back, now) end
  for _, run in pairs(s.runs) do run.at = math.min(run.at, now) end
end

-- Who has not been heard of is dead. What it held counts as used: its calls may have begun.
local me = s.workers[ask.worker]
local held, slots, inflight, headroom, count = {0, 0, 0, 0}, 0, ask.inflight, ask.headroom, 1
for name, w in pairs(s.workers) do
  if name ~= ask.worker then
    if now - w.at > DEAD then
      s.workers[name] = nil
    else
      for k = 1, KINDS do held[k] = held[k] + w.held[k] end
      inflight = inflight + w.inflight
      slots, headroom, count = slots + w.slots, math.max(headroom, w.headroom), count + 1
    end
  end
end

-- What came in since the last exchange of anybody, and what this worker used and gives back. A bucket and what is held of
-- it are never more than the bucket's burst together. Beside it goes what is expected of the service's own bucket, which
-- counts output when a call ends.
local passed = math.max(0, now - s.at)
s.at = now
local done = {}
for i = 1, #s.done do
  done[i] = ask.done[i] - (me and me.done[i] or ask.reported[i])
  s.done[i] = s.done[i] + done[i]
end
for k = 1, KINDS do
  local rate = set.rate[k] / 60000
  local used = ask.used[k] - (me and me.used[k] or ask.known[k])
  local mine, after = me and me.held[k] or 0, math.min(passed, ask.since) -- after all of it was used
  s.used[k] = s.used[k] + used
  if rate > 0 then
    local level = math.min(s.level[k] + rate * (passed - after), set.burst[k] - held[k] - mine) + mine - used
    s.level[k] = math.min(level + rate * after, set.burst[k] - held[k])
  else
    s.level[k] = 0
  end
  if rate == 0 or s.level[k] < set.burst[k] - held[k] - 1e-6 then
    s.full[k] = 0
  elseif s.full[k] == 0 then
    s.full[k] = now
  end
  if k == OUTPUT then used = done[PRODUCED] end
  s.expected[k] = math.min(s.expected[k] + set.told[k] / 60000 * passed, set.most[k]) - used
end

-- What the service says is left is the truth. What is missing of what was expected other users of the key took: that is
-- gone for us too. What workers may have used and not yet reported does not count as missing.
for k = 1, KINDS do
  local seen, last = ask.seen[k], s.seen[k]
  local at = now - seen.age
  if seen.age >= 0 and at > last.at then
    s.seen[k] = {at = at, limit = seen.limit, left = seen.left}
    local told, rate = set.told[k] / 60000, set.rate[k] / 60000
    if told > 0 and rate > 0 and seen.left >= 0 and seen.left <= set.most[k] and seen.age < 500 then
      local left = math.min(seen.left + told * seen.age, set.most[k]) - seen.used
      local unsure = set.slack[k] + math.max(held[k], (k < OUTPUT and 100 or 500) * told)
      local missing = s.expected[k] - left - unsure
      if missing > 0 then
        s.level[k] = math.max(s.level[k] - missing, math.min(s.level[k], -250 * rate))
        s.expected[k] = s.expected[k] - missing
      elseif left > s.expected[k] then
        if left > s.expected[k] + unsure + set.most[k] / 2 then s.rises = s.rises + 1 end
        s.expected[k] = math.min(left, set.most[k])
      end
      -- What is to be left in the bucket is left.
      if left + set.slack[k] < set.reserve[k] then s.level[k] = math.min(s.level[k], 0) end
    end
  end
end

-- Calls that a limit refused hold everybody, at once.
if ask.hold > 0 and now + ask.hold > s.held_until then
  s.held_until, s.reason = now + ask.hold, ask.reason
  redis.pcall('PUBLISH', ARGV[2], cjson.encode({hold = ask.hold, reason = ask.reason}))
end
if ask.refused > 0 then
  for k = 1, KINDS do
    local pause = 250
    if k >= OUTPUT and done[REFUSED + k] > 0 then
      -- Calls that go on still produce output, for as long as a call takes.
      pause = math.max(pause, math.min(1000, s.done[LATENCY] / math.max(1, s.done[ANSWERED]) / 3))
    end
    s.level[k] = math.min(s.level[k], -pause * set.rate[k] / 60000)
  end
end

-- Fair queueing between runs over all workers: a run's tag grows by the tokens that it used, by its weight. One that did
-- not wait starts at the present.
for id, run in pairs(s.runs) do
  if now - run.at > DEAD then s.runs[id] = nil end
end
for _, r in ipairs(ask.runs) do
  local run = s.runs[r.id] or {tag = s.clock}
  run.tag = run.tag + r.tokens / r.weight
  if not (me and me.waits[r.id]) then run.tag = math.max(run.tag, s.clock) end
  run.at = now
  s.runs[r.id] = run
end

-- The calls that others wait for and that go before those of a run of this worker: all of a run that has had less by more
-- than a call, and the first of one that has waited for longer. Beside them what of it all will probably go first, for the wait.
local function ahead(r)
  local before, queue = {0, 0, 0, 0}, {0, 0, 0, 0}
  local tag = s.runs[r.id].tag
  for name, w in pairs(s.workers) do
    if name ~= ask.worker and now < w.back then
      for id, other in pairs(w.waits) do
        local run = s.runs[id]
        local n = 0
        if id ~= r.id and run and run.tag + other.each[TOKENS] / other.weight < tag then
          n = other.calls
        elseif id ~= r.id and run and tag + r.each[TOKENS] / r.weight < run.tag then
          n = 0 -- however long it waits
        elseif other.since < r.since and now - other.since > 500 then
          n = 1
        end
        for k = 1, KINDS do before[k] = before[k] + n * other.each[k] end
        if n == 0 and other.since < r.since then n = 1 end
        for k = 1, KINDS do queue[k] = queue[k] + n * other.each[k] end
      end
    end
  end
  return before, queue
end

table.sort(ask.runs, function(a, b) return s.runs[a.id].tag < s.runs[b.id].tag end)
local grant, waits, wait, bound, slotless = {0, 0, 0, 0}, {}, 0, 0, nil
local free = set.concurrency > 0 and math.max(0, set.concurrency - slots - ask.inflight) or 1e9
local extra = 0
for _, r in ipairs(ask.runs) do
  if r.calls > 0 then
    r.since = me and me.waits[r.id] and me.waits[r.id].since or now
    local before, queue = ahead(r)
    local n, missing, why = r.calls, 0, 0
    for k = 1, KINDS do
      local rate = set.rate[k] / 60000
      if rate > 0 and r.each[k] > 0 then
        -- A call that is larger than the bucket starts when that is full, into debt.
        local need = math.min(r.each[k], set.burst[k])
        -- Whoever is ahead of whom: a bucket that stays full lets somebody pass.
        local there = s.level[k] - (s.full[k] > 0 and now - s.full[k] > 1000 and 0 or before[k])
        local fit = there < need - 1e-6 and 0 or math.max(1, math.floor(there / r.each[k] + 1e-6))
        if fit < n then n, why = fit, k end
        if fit == 0 then missing = math.max(missing, (need + queue[k] - s.level[k]) / rate) end
      end
    end
    if free - extra < n then n, why, missing = math.floor(free - extra), CONCURRENCY, 100 end
    if n == 0 and why == CONCURRENCY then slotless = me and me.slotless or now end
    if why > 0 then s.denied[why] = s.denied[why] + 1 end
    if s.held_until > now then n, why, missing = 0, HOLD, s.held_until - now end
    if n > 0 then
      extra = extra + n
      for k = 1, KINDS do
        if set.rate[k] > 0 then
          grant[k] = grant[k] + n * r.each[k]
          s.level[k] = s.level[k] - n * r.each[k]
        end
      end
      r.since = now
      s.clock = math.max(s.clock, s.runs[r.id].tag) -- the present is where the latest call began
    elseif wait == 0 or missing < wait then
      wait, bound = math.max(1, math.ceil(missing)), why
    end
    if n < r.calls then waits[r.id] = {since = r.since, calls = r.calls - n, each = r.each, weight = r.weight} end
  end
end
-- Slots that nobody asked for are shared out, so that who has just ended a call need not ask before the next one.
local own = -1
if set.concurrency > 0 then
  extra = extra + math.floor((free - extra) / count)
  own = math.min(ask.inflight + extra, math.max(0, set.concurrency - slots)) -- fewer than there are, after a cut
  -- Who has fewer and waits for a slot is met halfway.
  local least
  for name, w in pairs(s.workers) do
    if name ~= ask.worker and w.slotless and now - w.slotless > 500 and (not least or w.slots < least) then least = w.slots end
  end
  if least and least < own then own = math.floor((own + least) / 2) end
end

-- Who leaves holds nothing. A job's own limits go with its last worker; those of a key are what the next job begins with.
if ask.leave then
  s.workers[ask.worker] = nil
  if ask.leave == 'last' and count == 1 then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], cjson.encode(s), 'PX', KEPT)
  end
  return false
end

-- One worker at a time steers: it reads what all did and sets the limits anew.
local due = ask.urgent or now - s.steered >= 250
if due then s.steered = now end

s.workers[ask.worker] = {
  at = now, used = ask.used, done = ask.done, held = grant, inflight = ask.inflight, slots = math.max(ask.inflight, own), headroom = ask.headroom,
  waits = waits, slotless = slotless, back = now + wait + 500,
}
redis.call('SET', KEYS[1], cjson.encode(s), 'PX', KEPT)
return cjson.encode({
  now = now, grant = grant, slots = own, wait = wait, bound = bound,
  hold = math.max(0, s.held_until - now), reason = s.reason, workers = count, headroom = headroom, due = due,
  set = set.version ~= ask.version and set or nil,
  used = s.used, done = s.done, denied = s.denied, level = s.level, seen = s.seen, rises = s.rises, inflight = inflight,
})
