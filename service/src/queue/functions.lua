#!lua name=sluice1
-- The transitions of a loan in Redis. Each call is atomic and touches one partition's hash slot.
--
-- The keys of partition p, all with the hash tag {l:p}:
--   q              stream of queued loans, group w        i loanId, l loan
--   done           stream of accepted loans, group m      i loanId, r result
--   flog           stream of failures, group m            i loanId, r result
--   failed:<cat>   streams of failed loans, for a retry   i loanId, l loan
--   id:<loanId>    fingerprint (16 bytes), state, entry   while the loan is in Redis
--   seen:<n>       filters of the loans that MongoDB has recorded
--   m              counters;  ctl  what an operator has set: paused, and was:<loanId>, the fingerprints that
--                  corrections of a loan have replaced
--   who            failed attempts by applicant
--   inst           of partition 0: the instances that are alive
-- A function may touch keys that it is not told by name: all are of the same partition, so of the same slot.
--
-- A loan is its fingerprint (16 bytes), its id's hash (12), received_us (8), attempt (4), body; a result is
-- received_us (8), BSON document; numbers are big-endian. See queue/packed.rs.
--
-- The state in an id key is one letter: q queued or processing, a accepted, f failed, ? being
-- looked up in MongoDB (then the entry is the look-up's token).
--
-- A recorded loan leaves Redis: its id key is freed and its three bits are set in a filter. An id
-- whose bits are all set may have been recorded, so its client is answered from MongoDB. An id
-- with a bit unset was certainly not. So Redis's memory follows the backlog, not the history.

local FILTER_BITS = 8388608      -- of the first generation; each next one is twice as large
local FILTER_LOANS = 800000      -- that the first generation takes: about 2 % false positives
local FILTER_DOUBLINGS = 6       -- then generations stay at 64 MiB, 51 million loans
local FILTERS_KEPT = 9           -- the oldest is dropped beyond this

local APPLICANTS_KEPT = 10000    -- with the most failures; the others are forgotten
local CORRECTIONS_KEPT = 8       -- fingerprints of a loan that corrections have replaced

-- One call of Redis costs more than its arguments. So a batch is read and written by as few calls as can be:
-- but Lua's stack holds no more than 8,000 arguments, so in steps.
local STEP = 500

-- The three places of an id in a filter, from the 12 hash bytes that the caller computed: they start at the byte `from`.
local function places(bytes, from, generation)
  local bits = FILTER_BITS * 2 ^ math.min(generation, FILTER_DOUBLINGS)
  local a1, a2, a3, a4, b1, b2, b3, b4, c1, c2, c3, c4 = string.byte(bytes, from, from + 11)
  return (((a1 * 256 + a2) * 256 + a3) * 256 + a4) % bits,
         (((b1 * 256 + b2) * 256 + b3) * 256 + b4) % bits,
         (((c1 * 256 + c2) * 256 + c3) * 256 + c4) % bits
end

-- For each loan of args, from args[2] on, whether it may have been recorded. The first bit alone tells nearly all new loans.
local function may_be_recorded(seen, first, last, args, count)
  local is_set = {}
  for generation = last, first, -1 do
    for from = 1, count, STEP do
      local to = math.min(from + STEP - 1, count)
      local reads = {}
      for n = from, to do
        reads[#reads + 1] = 'GET'
        reads[#reads + 1] = 'u1'
        reads[#reads + 1] = (places(args[2 * n + 1], 17, generation))
      end
      local bits = redis.call('BITFIELD', seen .. generation, unpack(reads))
      for n = from, to do
        if bits[n - from + 1] == 1 and not is_set[n] then
          local _, b, c = places(args[2 * n + 1], 17, generation)
          is_set[n] = redis.call('GETBIT', seen .. generation, b) == 1 and redis.call('GETBIT', seen .. generation, c) == 1
        end
      end
    end
  end
  return is_set
end

-- What the id keys hold, from keys[at] on: by key, so that a batch sees what it has written itself.
local function held_by(keys, at)
  local held = {}
  for from = at, #keys, STEP do
    local to = math.min(from + STEP - 1, #keys)
    for n, value in ipairs(redis.call('MGET', unpack(keys, from, to))) do held[keys[from + n - 1]] = value end
  end
  return held
end

-- Calls Redis with one to three words, then list[first] to list[last], in steps; answers the sum of what it answers.
local function call_with_all(list, first, last, word, second, third)
  local sum = 0
  for from = first, last, STEP do
    local to = math.min(from + STEP - 1, last)
    local answer
    if third then
      answer = redis.call(word, second, third, unpack(list, from, to))
    elseif second then
      answer = redis.call(word, second, unpack(list, from, to))
    else
      answer = redis.call(word, unpack(list, from, to))
    end
    if type(answer) == 'number' then sum = sum + answer end
  end
  return sum
end

-- The key of this name in the partition whose counters have the key m.
local function beside(m, name)
  return string.sub(m, 1, -2) .. name
end

-- Whether a correction has replaced content of this fingerprint.
local function is_replaced(ctl, loan_id, fingerprint)
  local was = redis.call('HGET', ctl, 'was:' .. loan_id) or ''
  for at = 1, #was, 16 do
    if string.sub(was, at, at + 15) == fingerprint then return true end
  end
  return false
end

local function group(key, name)
  local made = redis.pcall('XGROUP', 'CREATE', key, name, '0', 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP') then error(made.err) end
end

-- A partition that Redis has forgotten (an empty Redis). The caller sets it up and calls again; nothing was written.
local function forgotten()
  return redis.error_reply('NOGROUP the partition is not set up')
end

-- KEYS q done flog m seen: ; makes what the other functions rely on. Safe to repeat.
local function setup(keys, args)
  group(keys[1], 'w'); group(keys[2], 'm'); group(keys[3], 'm')
  if redis.call('HSETNX', keys[4], 'seen_last', 0) == 1 then
    redis.call('HSET', keys[4], 'seen_first', 0)
    redis.call('SETBIT', keys[5] .. '0', FILTER_BITS - 1, 0)
  end
  return redis.status_reply('OK')
end

-- KEYS q m ctl seen: id... ; ARGV backlog_max, then for each loan: loanId, loan; then, if any had one, for each its token or ''.
-- Answers {depth, token, outcome...}; an outcome is
--   1 admitted   0 the same loan again   -1 the same id with other content
--   2 may be recorded: look the id up in MongoDB, then call again with the token
--  -2 paused    -3 backlog full
local function admit(keys, args)
  local q, m = keys[1], keys[2]
  local counters = redis.call('HMGET', m, 'seen_first', 'seen_last')
  if not counters[2] then return forgotten() end
  local depth = redis.call('XLEN', q)
  local paused = redis.call('HGET', keys[3], 'paused')
  local room = tonumber(args[1]) - depth
  local held = held_by(keys, 5)
  local loans = #keys - 4
  local recorded = may_be_recorded(keys[4], tonumber(counters[1]), tonumber(counters[2]), args, loans)
  local reply, write = {depth, ''}, {}
  local admitted, replayed = 0, 0
  for n = 1, loans do
    local id, loan, token = keys[4 + n], args[2 * n + 1], args[2 * loans + 1 + n] or ''
    local now = held[id]
    local state = now and string.sub(now, 17, 17)
    local outcome
    if state and state ~= '?' then
      local fingerprint = string.sub(loan, 1, 16)
      if string.sub(now, 1, 16) == fingerprint or is_replaced(keys[3], args[2 * n], fingerprint) then
        outcome = 0
        replayed = replayed + 1
      else
        outcome = -1
      end
    elseif paused then
      outcome = -2
    elseif room <= 0 then
      outcome = -3
    elseif state == '?' and token == string.sub(now, 18) or not state and token == '' and not recorded[n] then
      local entry = redis.call('XADD', q, '*', 'i', args[2 * n], 'l', loan)
      held[id] = string.sub(loan, 1, 16) .. 'q' .. entry
      write[#write + 1] = id
      write[#write + 1] = held[id]
      admitted = admitted + 1
      room = room - 1
      outcome = 1
    else
      -- A fresh token each time: an answer from MongoDB counts only if nobody else has looked the
      -- id up, admitted it and recorded it in between.
      if reply[2] == '' then reply[2] = tostring(redis.call('HINCRBY', m, 'looked_up', 1)) end
      held[id] = string.sub(loan, 1, 16) .. '?' .. reply[2]
      redis.call('SET', id, held[id], 'EX', 60)
      outcome = 2
    end
    reply[#reply + 1] = outcome
  end
  call_with_all(write, 1, #write, 'MSET')
  if admitted > 0 then redis.call('HINCRBY', m, 'admitted', admitted) end
  if replayed > 0 then redis.call('HINCRBY', m, 'replayed', replayed) end
  return reply
end

-- KEYS m id ; ARGV token, replayed (1 or 0). The look-up found the loan in MongoDB: drop its marker, count the answer.
local function looked_up(keys, args)
  local held = redis.call('GET', keys[2])
  if held and string.sub(held, 17) == '?' .. args[1] then redis.call('DEL', keys[2]) end
  if args[2] == '1' then redis.call('HINCRBY', keys[1], 'replayed', 1) end
  return 1
end

-- KEYS q done flog m failed: id... ; ARGV for each loan: entry, loanId, fingerprint, category ('' accepted), result, loan ('' accepted);
-- then pairs: the number of a failed loan, its applicant.
-- Only the first commit of a delivered loan has an effect: its id key still names the queue's entry, to it alone.
-- Answers 1 (committed) or 0 (another was first) for each.
local function commit(keys, args)
  local q, done, flog, m = keys[1], keys[2], keys[3], keys[4]
  local held = held_by(keys, 6)
  local reply, won, lost, entries, write = {}, {}, 0, {}, {}
  for n = 6, #keys do
    local at = 1 + (n - 6) * 6
    local id, entry, loan_id, fingerprint, category = keys[n], args[at], args[at + 1], args[at + 2], args[at + 3]
    if held[id] == fingerprint .. 'q' .. entry then
      if category == '' then
        held[id] = fingerprint .. 'a' .. redis.call('XADD', done, '*', 'i', loan_id, 'r', args[at + 4])
        won['accepted'] = (won['accepted'] or 0) + 1
      else
        redis.call('XADD', flog, '*', 'i', loan_id, 'r', args[at + 4])
        local kept = redis.call('XADD', keys[5] .. category, '*', 'i', loan_id, 'l', args[at + 5])
        held[id] = fingerprint .. 'f' .. category .. ':' .. kept
        won['failed:' .. category] = (won['failed:' .. category] or 0) + 1
      end
      entries[#entries + 1] = entry
      write[#write + 1] = id
      write[#write + 1] = held[id]
      reply[#reply + 1] = 1
    else
      lost = lost + 1
      reply[#reply + 1] = 0
    end
  end
  call_with_all(write, 1, #write, 'MSET')
  call_with_all(entries, 1, #entries, 'XACK', q, 'w')
  call_with_all(entries, 1, #entries, 'XDEL', q)
  for counter, count in pairs(won) do redis.call('HINCRBY', m, counter, count) end
  local told = #args - (#keys - 5) * 6
  if told > 0 then
    local who = beside(m, 'who')
    for at = #args - told + 1, #args, 2 do
      if reply[tonumber(args[at])] == 1 then redis.call('ZINCRBY', who, 1, args[at + 1]) end
    end
    local excess = redis.call('ZCARD', who) - APPLICANTS_KEPT
    if excess > 0 then redis.call('ZREMRANGEBYRANK', who, 0, excess - 1) end
  end
  if lost > 0 then redis.call('HINCRBY', m, 'lost_commit_races', lost) end
  return reply
end

-- KEYS done m seen: id... ; ARGV duplicates, then the entry of each record, then the hash of each. MongoDB has confirmed these loans.
local function recorded(keys, args)
  local done, m, seen = keys[1], keys[2], keys[3]
  local counters = redis.call('HMGET', m, 'seen_first', 'seen_last', 'seen_loans', 'corrected')
  if not counters[2] then return forgotten() end
  local first, last, loans = tonumber(counters[1]), tonumber(counters[2]), tonumber(counters[3] or 0)
  local len = #keys - 3
  local bits, at = {}, 0
  for n = 1, len do
    local a, b, c = places(args[1 + len + n], 1, last)
    bits[at + 1], bits[at + 2], bits[at + 3], bits[at + 4] = 'SET', 'u1', a, '1'
    bits[at + 5], bits[at + 6], bits[at + 7], bits[at + 8] = 'SET', 'u1', b, '1'
    bits[at + 9], bits[at + 10], bits[at + 11], bits[at + 12] = 'SET', 'u1', c, '1'
    at = at + 12
  end
  -- Bits before the id is freed: there is no instant at which neither knows the loan.
  call_with_all(bits, 1, at, 'BITFIELD', seen .. last)
  call_with_all(keys, 4, #keys, 'DEL')
  if counters[4] then
    -- From here on MongoDB answers for replaced content: it holds the failure.
    local replaced, start = {}, #beside(m, 'id:') + 1
    for n = 1, len do replaced[n] = 'was:' .. string.sub(keys[3 + n], start) end
    call_with_all(replaced, 1, len, 'HDEL', beside(m, 'ctl'))
  end
  local count = call_with_all(args, 2, 1 + len, 'XACK', done, 'm')
  call_with_all(args, 2, 1 + len, 'XDEL', done)
  if count > 0 then redis.call('HINCRBY', m, 'recorded_loans', count) end
  if args[1] ~= '0' then redis.call('HINCRBY', m, 'duplicate_keys', args[1]) end
  loans = loans + count
  if loans >= FILTER_LOANS * 2 ^ math.min(last, FILTER_DOUBLINGS) then
    last = last + 1
    loans = 0
    redis.call('SETBIT', seen .. last, FILTER_BITS * 2 ^ math.min(last, FILTER_DOUBLINGS) - 1, 0)
    redis.call('HSET', m, 'seen_last', last)
    if last - first >= FILTERS_KEPT then
      redis.call('UNLINK', seen .. first)
      redis.call('HSET', m, 'seen_first', first + 1)
    end
  end
  redis.call('HSET', m, 'seen_loans', loans)
  return count
end

-- KEYS flog m ; ARGV duplicates, entry... . MongoDB has confirmed these failures.
local function logged(keys, args)
  local count = call_with_all(args, 2, #args, 'XACK', keys[1], 'm')
  call_with_all(args, 2, #args, 'XDEL', keys[1])
  if count > 0 then redis.call('HINCRBY', keys[2], 'recorded_failures', count) end
  if args[1] ~= '0' then redis.call('HINCRBY', keys[2], 'duplicate_keys', args[1]) end
  return count
end

-- KEYS stream m ; ARGV group, consumer, idle_ms, count. Takes over what other consumers hold for too long.
-- Answers {{entry, deliveries so far, fields}...}; an entry whose loan is gone is acknowledged and left out.
local function reap(keys, args)
  local stale = redis.call('XPENDING', keys[1], args[1], 'IDLE', args[3], '-', '+', args[4])
  local reply = {}
  for _, pending in ipairs(stale) do
    local claimed = redis.call('XCLAIM', keys[1], args[1], args[2], args[3], pending[1])
    if #claimed > 0 then
      reply[#reply + 1] = {claimed[1][1], pending[4] + 1, claimed[1][2]}
    elseif #redis.call('XRANGE', keys[1], pending[1], pending[1]) == 0 then
      redis.call('XACK', keys[1], args[1], pending[1])
    end
  end
  if #reply > 0 then redis.call('HINCRBY', keys[2], 'redelivered', #reply) end
  return reply
end

-- KEYS stream ; ARGV group, idle_ms. Forgets consumers that are gone and hold nothing: deleting one that
-- holds a loan would lose the loan.
local function tidy(keys, args)
  local dropped = 0
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', keys[1], args[1])) do
    local fact = {}
    for n = 1, #consumer, 2 do fact[consumer[n]] = consumer[n + 1] end
    if fact.pending == 0 and fact.idle > tonumber(args[2]) then
      redis.call('XGROUP', 'DELCONSUMER', keys[1], args[1], fact.name)
      dropped = dropped + 1
    end
  end
  return dropped
end

-- Queues a failed loan again, as its next attempt: what failed:<cat> held of it, or a correction's fingerprint and body.
local function queue_again(q, id, loan_id, loan, fingerprint, body)
  local attempt = struct.unpack('>I4', string.sub(loan, 37, 40)) + 1
  fingerprint = fingerprint or string.sub(loan, 1, 16)
  body = body or string.sub(loan, 41)
  local again = fingerprint .. string.sub(loan, 17, 36) .. struct.pack('>I4', attempt) .. body
  redis.call('SET', id, fingerprint .. 'q' .. redis.call('XADD', q, '*', 'i', loan_id, 'l', again))
end

-- An entry's fields i and l.
local function id_and_loan(fields)
  local fact = {}
  for n = 1, #fields, 2 do fact[fields[n]] = fields[n + 1] end
  return fact.i, fact.l
end

-- KEYS q m failed: ; ARGV category, from, upto, count. Queues the loans again that failed for this, oldest first.
-- Answers {queued again, skipped, the last entry looked at ('' none)}. Of two calls at once one finds the entry, the other does not.
local function requeue(keys, args)
  local q, m, stream = keys[1], keys[2], keys[3] .. args[1]
  local ids, moved, skipped, last = beside(m, 'id:'), {}, 0, ''
  for _, entry in ipairs(redis.call('XRANGE', stream, args[2], args[3], 'COUNT', args[4])) do
    last = entry[1]
    local loan_id, loan = id_and_loan(entry[2])
    if redis.call('GET', ids .. loan_id) == string.sub(loan, 1, 16) .. 'f' .. args[1] .. ':' .. last then
      queue_again(q, ids .. loan_id, loan_id, loan)
      moved[#moved + 1] = last
    else
      skipped = skipped + 1
    end
  end
  call_with_all(moved, 1, #moved, 'XDEL', stream)
  if #moved > 0 then redis.call('HINCRBY', m, 'retried', #moved) end
  return {#moved, skipped, last}
end

-- KEYS q m failed: id... ; ARGV fingerprint and body of a correction ('' none), loanId... . Queues those of these loans again that have failed.
-- Answers {queued again, skipped}.
local function requeue_ids(keys, args)
  local q, m = keys[1], keys[2]
  local fingerprint, body = args[1], args[2]
  if fingerprint == '' then fingerprint, body = nil, nil end
  local moved, skipped = 0, 0
  for n = 4, #keys do
    local id, loan_id = keys[n], args[n - 1]
    local category, entry = string.match(string.sub(redis.call('GET', id) or '', 17), '^f([^:]*):(.*)$')
    local found = category and redis.call('XRANGE', keys[3] .. category, entry, entry) or {}
    if #found == 1 then
      local _, loan = id_and_loan(found[1][2])
      local replaced = string.sub(loan, 1, 16)
      if fingerprint and fingerprint ~= replaced then
        -- A client that repeats what it sent once is still answered that the loan is known.
        local ctl, field = beside(m, 'ctl'), 'was:' .. loan_id
        local was = (redis.call('HGET', ctl, field) or '') .. replaced
        redis.call('HSET', ctl, field, string.sub(was, -16 * CORRECTIONS_KEPT))
        redis.call('HINCRBY', m, 'corrected', 1)
      end
      queue_again(q, id, loan_id, loan, fingerprint, body)
      redis.call('XDEL', keys[3] .. category, entry)
      moved = moved + 1
    else
      skipped = skipped + 1
    end
  end
  if moved > 0 then redis.call('HINCRBY', m, 'retried', moved) end
  return {moved, skipped}
end

-- KEYS ctl ; ARGV 'pause' or 'resume', now in ms. Answers 1 if that changed anything.
local function control(keys, args)
  if args[1] == 'pause' then return redis.call('HSETNX', keys[1], 'paused', args[2]) end
  return redis.call('HDEL', keys[1], 'paused')
end

-- KEYS inst ; ARGV instance, workers, workers_max, kept_ms (0: it is leaving). Answers {instances, workers, workers_max} of all
-- that were heard of within that time, by the clock of Redis.
local function beat(keys, args)
  local time = redis.call('TIME')
  local now, kept = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(args[4])
  if kept == 0 then
    redis.call('HDEL', keys[1], args[1])
    return {0, 0, 0}
  end
  redis.call('HSET', keys[1], args[1], string.format('%d %s %s', now, args[2], args[3]))
  local sum = {0, 0, 0}
  local all = redis.call('HGETALL', keys[1])
  for n = 1, #all, 2 do
    local at, workers, most = string.match(all[n + 1], '^(%d+) (%d+) (%d+)$')
    if at and now - at <= kept then
      sum[1], sum[2], sum[3] = sum[1] + 1, sum[2] + workers, sum[3] + most
    else
      redis.call('HDEL', keys[1], all[n])
    end
  end
  return sum
end

-- No allow-oom: what adds to the queue is refused when Redis is full ...
redis.register_function{function_name = 'sluice1_admit', callback = admit}
redis.register_function{function_name = 'sluice1_requeue', callback = requeue}
redis.register_function{function_name = 'sluice1_requeue_ids', callback = requeue_ids}
-- ... and all that drains goes on, on a new connection too.
redis.register_function{function_name = 'sluice1_setup', callback = setup, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_looked_up', callback = looked_up, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_commit', callback = commit, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_recorded', callback = recorded, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_logged', callback = logged, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_reap', callback = reap, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_tidy', callback = tidy, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_control', callback = control, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice1_beat', callback = beat, flags = {'allow-oom'}}
