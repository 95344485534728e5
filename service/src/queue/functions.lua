#!lua name=sluice_HASH
-- The transitions of a loan in Redis. Each call is atomic and touches one partition, whose keys share a hash tag.
--
-- The unit of work is a bundle: the loans that one call admitted. Its content is written once and never moves. Its
-- state moves:
--
--   waiting  ->  claimed by a worker  ->  decided, results noted  ->  recorded in MongoDB, and gone
--
-- A bundle's name is 12 random bytes of whoever admitted it. So no two bundles have one name, also not in a Redis that
-- went back in time or in a second master: a call that names a bundle has no effect on any other.
--
-- The keys of a partition, in the order in which every function is given all of them:
local ABOUT = 1        -- hash: version of the data, number of partitions, era
local COUNTERS = 2     -- hash: how many loans are in each state, and sums that only grow
local IDS = 3          -- hash: loan id -> fingerprint (16 bytes), attempt (1), name of its bundle; or a look-up's marker
local BUNDLES = 4      -- hash: name -> content, see bundle.rs
local WAITING = 5      -- list of places, oldest first
local CLAIMED = 6      -- sorted set: name, by the instant at which the worker's lease runs out
local DECIDED = 7      -- sorted set: name, by the instant from which a recorder may take it
local TICKETS = 8      -- hash: name -> ticket of the lease that is held on it; its place while nobody holds one
local RESULTS = 9      -- hash: name -> what the worker decided, see results.rs
local CONTROL = 10     -- hash: what an operator has set: paused since when, and when that was last decided
local APPLICANTS = 11  -- sorted set: applicant, by failed attempts
local INSTANCES = 12   -- hash: the instances that are alive
local LOOK_UPS = 13    -- sorted set: loan ids with a look-up's marker, by when it was made
local ASIDE = 14       -- hash: name -> reason, when, content of bundles that nobody can read; an entry that is no place -> the reason
local FILTERS = 15     -- from here on: the generations of the filter of recorded ids, a ring
local FILTERS_LEN = 12
--
-- A place is name (12), loans in it (2), when it was queued in ms (8). A ticket is a place, deliveries (1), since when
-- it is held in ms (8), holder (12). Numbers are big-endian.
--
-- A recorded loan leaves Redis: its id is put into a filter and leaves IDS. An id that the filter does not know was
-- certainly not recorded; one that it knows may have been, and MongoDB is asked. So Redis's memory follows the backlog,
-- not the history. While the filter is not complete (a new Redis beside a full MongoDB), it is taken to know every id.

local VERSION = 2                -- of the data
local WORDS = 262144             -- of 32 bits, in the filter's first generation; each next one has twice as many
local DOUBLINGS = 6              -- then generations stay at 64 MiB
local APPLICANTS_KEPT = 10000    -- with the most failures; the others are forgotten
local LOOK_UP_KEPT_MS = 60000    -- a look-up that takes longer is made anew
local REBUILD_SILENT_MS = 5000   -- a rebuilding of the filter that says nothing this long is given up
local ASIDE_MAX = 1000           -- of what stands aside; more bundles stay claimed
local DISCARD_STEP_MAX = 1000000 -- more than the loans of one step of a task that discards, however often it is done again
local PLACE_LEN = 22             -- bytes of a place
local NOBODY = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'  -- since when, and holder
local HELD_LEN = 29              -- bytes of an id's value; a look-up's marker is shorter
local GENERATIONS_MAX = 1000000  -- more than there are ever
local DIGITS_MAX = 15            -- of a count: Lua holds no longer one exactly, and Redis adds to it
local NAME_LEN = 12              -- bytes of a bundle's name
local HEAD_LEN = 11              -- bytes of a content before its loans: version (1), when queued in ms (8), loans (2)
local LOANS_MAX = 16384          -- more than any admission puts into a bundle

-- Lua's stack holds no more than 8,000 arguments, so long lists go to Redis in steps.
local STEP = 2000

-- Calls Redis with `word`, `key` and list[first] to list[last].
local function call_with_some(word, key, list, first, last)
  for from = first, last, STEP do
    redis.call(word, key, unpack(list, from, math.min(from + STEP - 1, last)))
  end
end

-- The same with list[1] to list[count].
local function call_with_all(word, key, list, count)
  call_with_some(word, key, list, 1, count)
end

-- The values of list[from] to list[to] in a hash, in order.
local function values_of(key, list, from, to)
  if to - from < STEP then
    if to < from then return {} end
    return redis.call('HMGET', key, unpack(list, from, to))
  end
  local values = {}
  for at = from, to, STEP do
    for _, value in ipairs(redis.call('HMGET', key, unpack(list, at, math.min(at + STEP - 1, to)))) do
      values[#values + 1] = value
    end
  end
  return values
end

-- The scores of list[from] to list[to] in a sorted set, in order; false for what is not in it.
local function scores_of(key, list, from, to)
  local scores = {}
  for at = from, to, STEP do
    for _, score in ipairs(redis.call('ZMSCORE', key, unpack(list, at, math.min(at + STEP - 1, to)))) do
      scores[#scores + 1] = score
    end
  end
  return scores
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A count, 0 where there is none. A hand may have written what is no number.
local function count_of(value)
  return tonumber(value or 0) or 0
end

-- The numbers of COUNTERS with these names, 0 where there is none.
local function counts(keys, ...)
  local values = redis.call('HMGET', keys[COUNTERS], ...)
  for n = 1, #values do values[n] = count_of(values[n]) end
  return unpack(values)
end

-- Loans of a bundle, by its place in a line or by its ticket; nil for what is neither.
local function loans_of(place)
  if not place or #place < PLACE_LEN then return nil end
  local loans = struct.unpack('>I2', place, NAME_LEN + 1)
  return loans <= LOANS_MAX and loans or nil
end

-- Whether this is the ticket of the bundle of that name.
local function is_ticket(ticket, name)
  return loans_of(ticket) and string.sub(ticket, 1, NAME_LEN) == name
end

-- A partition that this Redis does not know. The caller prepares it and calls again; nothing was written.
local function unprepared()
  return redis.error_reply('UNPREPARED the partition is not set up')
end

-- Loans in the bundles of a line of tickets.
local function held_in(keys, line)
  local sum = 0
  local names = redis.call('ZRANGE', keys[line], 0, -1)
  for _, ticket in ipairs(values_of(keys[TICKETS], names, 1, #names)) do
    sum = sum + (loans_of(ticket) or 0)
  end
  return sum
end

-- Loans in the bundles that wait.
local function waiting_in(keys)
  local sum = 0
  for from = 0, redis.call('LLEN', keys[WAITING]) - 1, STEP do
    for _, place in ipairs(redis.call('LRANGE', keys[WAITING], from, from + STEP - 1)) do
      sum = sum + (loans_of(place) or 0)
    end
  end
  return sum
end

-- Counts the loans in each line anew.
local function recount(keys)
  redis.call('HSET', keys[COUNTERS], 'queued', waiting_in(keys), 'claimed', held_in(keys, CLAIMED),
    'decided', held_in(keys, DECIDED))
end

-- ARGV partitions, era. Makes what the other functions rely on, each where it is not there: somebody may have taken one of
-- them away. Safe to repeat. Refuses data of another number of partitions or of another version.
local function prepare(keys, args)
  local about = redis.call('HMGET', keys[ABOUT], 'version', 'partitions')
  if about[1] then
    if tonumber(about[1]) ~= VERSION or about[2] ~= args[1] then
      return redis.error_reply('OTHERQUEUE ' .. about[1] .. ' ' .. about[2])
    end
  else
    redis.call('HSET', keys[ABOUT], 'version', VERSION, 'partitions', args[1], 'era', args[2])
  end
  if redis.call('HEXISTS', keys[COUNTERS], 'filter_last') == 0 then
    redis.call('SETRANGE', keys[FILTERS], WORDS * 4 - 1, '\0')
    redis.call('HSET', keys[COUNTERS], 'filter_first', 0, 'filter_last', 0, 'must_count', 1)
    recount(keys)
  end
  return redis.status_reply('OK')
end

-- Words of a generation of the filter.
local function words_in(generation)
  return WORDS * 2 ^ math.min(generation, DOUBLINGS)
end

-- The first and the last generation of the filter, as COUNTERS has them; nil where they cannot be these: a hand may have
-- written any number, and whoever counts from one to the other must come to an end.
local function generations(first, last)
  first, last = count_of(first), count_of(last)
  local is_possible = first >= 0 and last >= first and last - first < FILTERS_LEN and last < GENERATIONS_MAX
    and first == math.floor(first) and last == math.floor(last)
  if is_possible then return first, last end
end

-- Where an id's word lies among `words`, as BITFIELD wants it. A number that is left to Redis to write out is written as a
-- fraction, which takes four times as long.
local function place_of(hash, words)
  return string.format('#%d', hash % words)
end

-- For each of `count` ids, whether the filter knows it; nil if there is no filter to ask. `heads` has 8 bytes for each: the word (4 bytes, of which a
-- generation uses as many bits as it has words for) and the bits in it (4 bytes).
local function may_be_recorded(keys, first, last, heads, count)
  local known = {}
  first, last = generations(first, last)
  if not first then return nil end
  for generation = first, last do
    local key, words_here = keys[FILTERS + generation % FILTERS_LEN], words_in(generation)
    for from = 1, count, STEP do
      local reads, masks, len = {}, {}, 0
      for n = from, math.min(from + STEP - 1, count) do
        local hash, mask = struct.unpack('>I4I4', heads, n * 8 - 7)
        masks[n] = mask
        reads[len + 1], reads[len + 2], reads[len + 3] = 'GET', 'u32', place_of(hash, words_here)
        len = len + 3
      end
      for n, word in ipairs(redis.call('BITFIELD_RO', key, unpack(reads, 1, len))) do
        if word ~= 0 then
          local mask = masks[from + n - 1]
          if bit.band(word, mask) == bit.tobit(mask) then known[from + n - 1] = true end
        end
      end
    end
  end
  return known
end

-- The filter may lack what MongoDB holds: until it is rebuilt, MongoDB is asked for every id. What a rebuilding that is
-- under way has put in may be what is lacking, so that has to begin anew. Answers 1 if the filter counted as complete.
local function doubt_filter(keys)
  redis.call('HINCRBY', keys[COUNTERS], 'filter_rebuilds', 1)
  -- Failures that wait were counted by whom it has lost.
  redis.call('HSET', keys[COUNTERS], 'must_count', 1)
  return redis.call('HDEL', keys[COUNTERS], 'filter_complete', 'filter_rebuilt_ms')
end

-- Puts `count` ids into the filter's newest generation, and begins another when it is full. Where there is no filter, the
-- one that is made is not complete.
local function remember(keys, heads, count)
  local first, last, held = counts(keys, 'filter_first', 'filter_last', 'filter_loans')
  first, last = generations(first, last)
  if not first then
    redis.call('HSET', keys[COUNTERS], 'must_mend', 1)
    doubt_filter(keys)
    return
  end
  local key, words_here = keys[FILTERS + last % FILTERS_LEN], words_in(last)
  for from = 1, count, STEP do
    local places, masks, reads, len = {}, {}, {}, 0
    for n = from, math.min(from + STEP - 1, count) do
      local hash, mask = struct.unpack('>I4I4', heads, n * 8 - 7)
      local place = place_of(hash, words_here)
      local others = masks[place]
      if others then
        masks[place] = bit.bor(others, mask)
      else
        places[#places + 1], masks[place] = place, mask
        reads[len + 1], reads[len + 2], reads[len + 3] = 'GET', 'u32', place
        len = len + 3
      end
    end
    local words, writes = redis.call('BITFIELD', key, unpack(reads, 1, len)), {}
    len = 0
    for n, word in ipairs(words) do
      local place = places[n]
      local all = bit.bor(word, masks[place]) % 4294967296
      if all ~= word then
        writes[len + 1], writes[len + 2], writes[len + 3] = 'SET', 'u32', place
        writes[len + 4] = string.format('%d', all)
        len = len + 4
      end
    end
    for at = 1, len, STEP do
      redis.call('BITFIELD', key, unpack(writes, at, math.min(at + STEP - 1, len)))
    end
  end
  held = held + count
  -- A word for each id: a full generation takes 1 in 600 unknown ids for known ones.
  if held >= words_in(last) then
    last, held = last + 1, 0
    if last - first >= FILTERS_LEN then
      redis.call('UNLINK', keys[FILTERS + first % FILTERS_LEN])
      first = first + 1
    end
    redis.call('SETRANGE', keys[FILTERS + last % FILTERS_LEN], words_in(last) * 4 - 1, '\0')
    redis.call('HSET', keys[COUNTERS], 'filter_first', first, 'filter_last', last)
  end
  redis.call('HSET', keys[COUNTERS], 'filter_loans', held)
end

-- Forgets the markers of look-ups that were given up.
local function sweep_look_ups(keys, now)
  -- Those of the future are from before the clock was set back.
  for _, span in ipairs({{'-inf', now - LOOK_UP_KEPT_MS}, {now + LOOK_UP_KEPT_MS, '+inf'}}) do
    local old = redis.call('ZRANGEBYSCORE', keys[LOOK_UPS], span[1], span[2], 'LIMIT', 0, 100)
    if #old > 0 then
      for n, held in ipairs(redis.call('HMGET', keys[IDS], unpack(old))) do
        if held and #held < HELD_LEN then redis.call('HDEL', keys[IDS], old[n]) end
      end
      redis.call('ZREM', keys[LOOK_UPS], unpack(old))
    end
  end
end

-- Takes in a bundle. ARGV
--   1 most loans that Redis may hold unrecorded   2 name of the bundle   3 'new', or 'retry' for failed loans
--   4 the loans, packed: for each its length (4), then id, fingerprint, ... (see bundle.rs)
--   5 for each loan: the filter's word (4) and bits (4)
--   6 number of loans
--   7 '' if nothing is known of them and no id stands twice, 'twins' if one may, 'tokens' if tokens follow
--   8 admissions that were confirmed to the caller: with fewer, this Redis went back in time, and its filter with it
--   then the ids, for each its value in IDS, and for each its token, '?' to ask for one, '?NAME' to ask for the one of this
--   name, also where an earlier call has taken it already, or ''.
-- Answers {now in ms, admissions so far, token, outcomes}; the outcomes are a letter for each loan:
--   a admitted   r the same loan again   c the same id with other content   e the same, but an earlier attempt may have
--   had this content: ask MongoDB   s may be recorded: ask MongoDB, then call again with '?' if it was not
--   l as s, and the answer's token is for this loan   p paused   f full
--   b another retry is at it
local function admit(keys, args)
  local is_retry = args[3] == 'retry'
  local counter = is_retry and 'retried' or 'admitted'
  local first, last, is_complete, admissions, queued, claimed, decided, counted = unpack(redis.call('HMGET',
    keys[COUNTERS], 'filter_first', 'filter_last', 'filter_complete', 'admissions', 'queued', 'claimed', 'decided', counter))
  if not last then return unprepared() end
  admissions, queued = count_of(admissions), count_of(queued)
  local name, loans = args[2], args[4]
  local count, has_tokens = tonumber(args[6]), args[7] == 'tokens'
  if admissions < tonumber(args[8]) then
    doubt_filter(keys)
    is_complete = false
  end
  local now = now_ms()
  local paused = not is_retry and redis.call('HEXISTS', keys[CONTROL], 'paused') == 1
  local room = tonumber(args[1]) - queued - count_of(claimed) - count_of(decided)
  local held = values_of(keys[IDS], args, 9, 8 + count)
  local known = is_retry and {} or may_be_recorded(keys, first, last, args[5], count)
  if not known then known, is_complete = {}, false end
  -- Nearly every batch is of new loans that all find room.
  local is_plain = args[7] == '' and is_complete and not is_retry and not paused and count <= room and next(known) == nil
  for n = 1, is_plain and count or 0 do
    if held[n] then
      is_plain = false
      break
    end
  end
  local here, outcomes, writes, marks, token = {}, {}, {}, {}, ''
  local admitted, replayed, len = 0, 0, 0
  if is_plain then
    for n = 1, count do
      writes[len + 1], writes[len + 2] = args[8 + n], args[8 + count + n]
      len = len + 2
    end
    admitted, outcomes = count, {string.rep('a', count)}
  else
    for n = 1, count do
      local id, value = args[8 + n], args[8 + count + n]
      local now_held = here[id] or held[n]
      local mine = has_tokens and args[8 + 2 * count + n] or ''
      local asks = string.byte(mine) == 63 -- '?'
      local outcome
      if now_held and #now_held == HELD_LEN then
        if string.sub(now_held, 1, 16) == string.sub(value, 1, 16) then
          outcome = 'r'
          replayed = replayed + 1
        else
          outcome = string.byte(now_held, 17) > 1 and 'e' or 'c'
        end
      else
        local is_certain = now_held and mine ~= '' and now_held == '?' .. mine
        local is_new = not now_held and mine == '' and not is_retry and not known[n] and is_complete
        if is_retry and asks and now_held and now_held ~= mine and math.abs(now - (redis.call('ZSCORE', keys[LOOK_UPS], id) or 0)) < LOOK_UP_KEPT_MS then
          -- Another is at it: of two retries at once one takes the loan.
          outcome = 'b'
        elseif not is_certain and not is_new and (mine == '' and not is_retry and (is_complete or paused or room <= 0)) then
          outcome = 's'
        elseif paused then
          outcome = 'p'
        elseif room <= 0 then
          outcome = 'f'
        elseif is_certain or is_new then
          outcome = 'a'
          admitted, room = admitted + 1, room - 1
          here[id] = value
          writes[len + 1], writes[len + 2] = id, value
          len = len + 2
          if is_certain then redis.call('ZREM', keys[LOOK_UPS], id) end
        else
          -- A fresh token each time: an answer from MongoDB counts only if nobody else has looked the id up, admitted
          -- it and recorded it in between.
          outcome = 'l'
          if #mine > 1 and asks then
            here[id] = mine
          else
            if token == '' then token = tostring(redis.call('HINCRBY', keys[COUNTERS], 'looked_up', 1)) end
            here[id] = '?' .. token
          end
          marks[#marks + 1] = id
        end
      end
      outcomes[n] = outcome
    end
  end
  if #marks > 0 then
    sweep_look_ups(keys, now)
    for _, id in ipairs(marks) do
      -- The same id may stand twice in a batch.
      if #here[id] < HELD_LEN then
        redis.call('HSET', keys[IDS], id, here[id])
        redis.call('ZADD', keys[LOOK_UPS], now, id)
      end
    end
  end
  if admitted > 0 then
    if admitted < count then
      -- Only what was admitted is packed.
      local parts, at = {}, 1
      for n = 1, count do
        local upto = at + 4 + struct.unpack('>I4', loans, at)
        if outcomes[n] == 'a' then parts[#parts + 1] = string.sub(loans, at, upto - 1) end
        at = upto
      end
      loans = table.concat(parts)
    end
    -- Redis takes nothing back when a call fails in the middle: a key of a wrong type, a user without a right. So an id is
    -- noted last, when the bundle stands in line with its content; else a repetition would be told that it is known.
    redis.call('HSET', keys[BUNDLES], name, struct.pack('>BI8I2', VERSION, now, admitted) .. loans)
    local pushed = redis.pcall('RPUSH', keys[WAITING], name .. struct.pack('>I2I8', admitted, now))
    if type(pushed) == 'table' and pushed.err then
      redis.call('HDEL', keys[BUNDLES], name)
      return pushed
    end
    call_with_all('HSET', keys[IDS], writes, len)
    admissions = admissions + 1
    redis.call('HSET', keys[COUNTERS], 'queued', queued + admitted, 'admissions', admissions,
      counter, count_of(counted) + admitted)
    if is_retry then redis.call('HINCRBY', keys[COUNTERS], 'failed_waiting', -admitted) end
  end
  if replayed > 0 then redis.call('HINCRBY', keys[COUNTERS], 'replayed', replayed) end
  return {now, admissions, token, table.concat(outcomes)}
end

-- ARGV as for admit, of which the loans are not read. Says what admit would, and admits nothing: for a Redis
-- that is full, where known loans are still answered.
local function recognise(keys, args)
  local first, last, is_complete, admissions = unpack(redis.call('HMGET', keys[COUNTERS],
    'filter_first', 'filter_last', 'filter_complete', 'admissions'))
  if not last then return unprepared() end
  is_complete = is_complete and count_of(admissions) >= tonumber(args[8])
  local count, has_tokens, outcomes = tonumber(args[6]), args[7] == 'tokens', {}
  local held = values_of(keys[IDS], args, 9, 8 + count)
  local known = may_be_recorded(keys, first, last, args[5], count)
  if not known then known, is_complete = {}, false end
  for n = 1, count do
    if held[n] and #held[n] == HELD_LEN then
      if string.sub(held[n], 1, 16) == string.sub(args[8 + count + n], 1, 16) then
        outcomes[n] = 'r'
      else
        outcomes[n] = string.byte(held[n], 17) > 1 and 'e' or 'c'
      end
    elseif (known[n] or not is_complete) and (not has_tokens or args[8 + 2 * count + n] == '') then
      outcomes[n] = 's'
    else
      outcomes[n] = 'f'
    end
  end
  return {0, 0, '', table.concat(outcomes)}
end

-- MongoDB has answered for loans. ARGV how many of them were replays, then the ids that have a look-up's marker: it goes.
local function found(keys, args)
  local gone = {}
  for n, held in ipairs(values_of(keys[IDS], args, 2, #args)) do
    if held and #held < HELD_LEN then gone[#gone + 1] = args[n + 1] end
  end
  call_with_all('HDEL', keys[IDS], gone, #gone)
  call_with_all('ZREM', keys[LOOK_UPS], gone, #gone)
  if args[1] ~= '0' then redis.call('HINCRBY', keys[COUNTERS], 'replayed', args[1]) end
  return #gone
end

-- An operator has finished failed loans, and MongoDB has noted it. ARGV the task, its step, how many loans this step has
-- finished here so far, then the ids that have a look-up's marker: it goes. Counted once, however often a step is told.
local function discarded(keys, args)
  local field, step, done = 'discarding:' .. args[1], tonumber(args[2]), tonumber(args[3])
  local told = tonumber(redis.call('HGET', keys[COUNTERS], field) or -1) or -1
  local more = 0
  if step > math.floor(told / DISCARD_STEP_MAX) then
    more = done
  elseif step == math.floor(told / DISCARD_STEP_MAX) then
    more = math.max(0, done - told % DISCARD_STEP_MAX)
  end
  if more > 0 then
    redis.call('HSET', keys[COUNTERS], field, string.format('%d', step * DISCARD_STEP_MAX + done))
    redis.call('HINCRBY', keys[COUNTERS], 'discarded', more)
    redis.call('HINCRBY', keys[COUNTERS], 'failed_waiting', -more)
  end
  local gone = {}
  for n, held in ipairs(values_of(keys[IDS], args, 4, #args)) do
    if held and #held < HELD_LEN then gone[#gone + 1] = args[n + 3] end
  end
  call_with_all('HDEL', keys[IDS], gone, #gone)
  call_with_all('ZREM', keys[LOOK_UPS], gone, #gone)
  return more
end

-- A task that discards is over: what was noted of its steps goes. ARGV the task.
local function discard_over(keys, args)
  return redis.call('HDEL', keys[COUNTERS], 'discarding:' .. args[1])
end

-- What is no entry of a line leaves it, and stands aside under its own text. By another hand.
local function put_entry_aside(keys, entry)
  if redis.call('HLEN', keys[ASIDE]) < ASIDE_MAX then redis.call('HSET', keys[ASIDE], entry, 'an entry of unknown form') end
  redis.call('HINCRBY', keys[COUNTERS], 'set_aside_places', 1)
end

-- A name leaves a line because no ticket goes with it: by another hand, or Redis has lost the ticket. If it is a bundle's,
-- `mend` puts that into line again.
local function drop(keys, line, name)
  redis.call('ZREM', keys[line], name)
  if redis.call('HEXISTS', keys[BUNDLES], name) == 0 then put_entry_aside(keys, name) end
  redis.call('HSET', keys[COUNTERS], 'must_mend', 1)
end

-- Gives up to `loans_max` loans to `holder` for `lease_ms`: first those whose holder let its lease run out.
-- ARGV holder, lease_ms, loans_max. Answers the tickets.
local function claim(keys, args)
  local holder, lease, most = args[1], tonumber(args[2]), tonumber(args[3])
  local now = now_ms()
  local tickets, taken, redelivered = {}, 0, 0
  local scores, holds, names = {}, {}, {}
  local function give(place, deliveries)
    local name = string.sub(place, 1, NAME_LEN)
    local ticket = place .. struct.pack('>BI8', math.min(deliveries, 255), now) .. holder
    tickets[#tickets + 1] = ticket
    scores[#scores + 1], scores[#scores + 2] = now + lease, name
    holds[#holds + 1], holds[#holds + 2] = name, ticket
    taken = taken + loans_of(place)
  end
  local late = redis.call('ZRANGEBYSCORE', keys[CLAIMED], '-inf', now, 'LIMIT', 0, 16)
  for n, ticket in ipairs(values_of(keys[TICKETS], late, 1, #late)) do
    if not is_ticket(ticket, late[n]) then
      drop(keys, CLAIMED, late[n])
    elseif taken < most then
      give(string.sub(ticket, 1, PLACE_LEN), (string.byte(ticket, PLACE_LEN + 1) or 0) + 1)
    end
  end
  redelivered = taken
  local popped = 0
  if taken < most then
    for _, place in ipairs(redis.call('LRANGE', keys[WAITING], 0, most - taken - 1)) do
      if taken >= most then break end
      popped = popped + 1
      if #place == PLACE_LEN and loans_of(place) then
        give(place, 1)
      else
        put_entry_aside(keys, place)
      end
    end
  end
  -- The line is left last: whatever fails before, a bundle is in it or is held.
  call_with_all('HSET', keys[TICKETS], holds, #holds)
  call_with_all('ZADD', keys[CLAIMED], scores, #scores)
  if popped > 0 then redis.call('LTRIM', keys[WAITING], popped, -1) end
  if #tickets > 0 then
    local fresh = taken - redelivered
    if fresh > 0 then
      local queued, claimed = counts(keys, 'queued', 'claimed')
      redis.call('HSET', keys[COUNTERS], 'queued', queued - fresh, 'claimed', claimed + fresh)
    end
    if redelivered > 0 then redis.call('HINCRBY', keys[COUNTERS], 'redelivered', redelivered) end
  end
  return tickets
end

-- A holder still works on these bundles: their leases begin anew. ARGV lease_ms, then the tickets. Answers 1 or 0 for each:
-- whether it is still the holder.
local function renew(keys, args)
  local names, reply, scores = {}, {}, {}
  for n = 2, #args do names[n - 1] = string.sub(args[n], 1, 12) end
  local ends = now_ms() + args[1]
  for n, held in ipairs(values_of(keys[TICKETS], names, 1, #names)) do
    reply[n] = held == args[n + 1] and 1 or 0
    if reply[n] == 1 then scores[#scores + 1], scores[#scores + 2] = ends, names[n] end
  end
  call_with_all('ZADD', keys[CLAIMED], scores, #scores)
  return reply
end

-- Notes what a worker decided. ARGV number of bundles, then for each: ticket, results, then for each category of failure
-- its name and how many ('' ends the list); then pairs: which bundle, applicant of a failed loan.
-- Only the holder of a bundle's ticket has an effect, once. Answers 1 or 0 for each bundle.
local function decide(keys, args)
  local bundles, at = tonumber(args[1]), 2
  local names, tickets, results, failed = {}, {}, {}, {}
  for n = 1, bundles do
    tickets[n], results[n], failed[n] = args[at], args[at + 1], {}
    names[n] = string.sub(tickets[n], 1, 12)
    at = at + 2
    while args[at] ~= '' do
      failed[n][args[at]] = tonumber(args[at + 1])
      at = at + 2
    end
    at = at + 1
  end
  local held = values_of(keys[TICKETS], names, 1, bundles)
  local reply, won, noted, ready, sums = {}, {}, {}, {}, {}
  local decided, lost = 0, 0
  for n = 1, bundles do
    local len = struct.unpack('>I2', tickets[n], 13)
    if held[n] == tickets[n] then
      won[#won + 1] = names[n]
      noted[#noted + 1], noted[#noted + 2] = names[n], results[n]
      ready[#ready + 1], ready[#ready + 2] = 0, names[n]
      decided = decided + len
      local accepted = len
      for category, count in pairs(failed[n]) do
        accepted = accepted - count
        sums['failed:' .. category] = (sums['failed:' .. category] or 0) + count
        sums['failed_waiting'] = (sums['failed_waiting'] or 0) + count
      end
      sums['accepted'] = (sums['accepted'] or 0) + accepted
      reply[n] = 1
    else
      lost = lost + len
      reply[n] = 0
    end
  end
  if #won > 0 then
    call_with_all('HSET', keys[RESULTS], noted, #noted)
    -- Into the next line before it leaves this one.
    call_with_all('ZADD', keys[DECIDED], ready, #ready)
    call_with_all('ZREM', keys[CLAIMED], won, #won)
    -- The place stays in the ticket; nobody holds it.
    local free = {}
    for n = 1, bundles do
      if reply[n] == 1 then
        free[#free + 1], free[#free + 2] = names[n], string.sub(tickets[n], 1, PLACE_LEN)
      end
    end
    call_with_all('HSET', keys[TICKETS], free, #free)
    local claimed, waiting = counts(keys, 'claimed', 'decided')
    redis.call('HSET', keys[COUNTERS], 'claimed', claimed - decided, 'decided', waiting + decided)
    for counter, count in pairs(sums) do
      if count > 0 then redis.call('HINCRBY', keys[COUNTERS], counter, count) end
    end
  end
  if lost > 0 then redis.call('HINCRBY', keys[COUNTERS], 'lost_commit_races', lost) end
  if at <= #args then
    for pair = at, #args, 2 do
      if reply[tonumber(args[pair])] == 1 then redis.call('ZINCRBY', keys[APPLICANTS], 1, args[pair + 1]) end
    end
    local excess = redis.call('ZCARD', keys[APPLICANTS]) - APPLICANTS_KEPT
    if excess > 0 then redis.call('ZREMRANGEBYRANK', keys[APPLICANTS], 0, excess - 1) end
  end
  return reply
end

-- Gives up to `loans_max` decided loans to a recorder for `lease_ms`. ARGV holder, lease_ms, loans_max.
-- Answers the tickets. Recording is idempotent: a lease only keeps two from doing the same work.
local function take(keys, args)
  local now = now_ms()
  local taken, again, tickets, scores, holds = 0, 0, {}, {}, {}
  local names = redis.call('ZRANGEBYSCORE', keys[DECIDED], '-inf', now, 'LIMIT', 0, args[3])
  for n, ticket in ipairs(values_of(keys[TICKETS], names, 1, #names)) do
    if taken >= tonumber(args[3]) then break end
    if is_ticket(ticket, names[n]) then
      local held = string.sub(ticket, 1, PLACE_LEN) .. struct.pack('>BI8', 0, now) .. args[1]
      tickets[#tickets + 1] = held
      scores[#scores + 1], scores[#scores + 2] = now + args[2], names[n]
      holds[#holds + 1], holds[#holds + 2] = names[n], held
      local loans = loans_of(ticket)
      taken = taken + loans
      if #ticket > PLACE_LEN and string.sub(ticket, PLACE_LEN + 2) ~= NOBODY then again = again + loans end
    else
      drop(keys, DECIDED, names[n])
    end
  end
  if #tickets > 0 then
    call_with_all('ZADD', keys[DECIDED], scores, #scores)
    call_with_all('HSET', keys[TICKETS], holds, #holds)
    if again > 0 then redis.call('HINCRBY', keys[COUNTERS], 'redelivered', again) end
  end
  return tickets
end

-- MongoDB has confirmed all loans of these bundles: they leave Redis. ARGV
--   1 number of bundles   2 duplicates   3 pairs that follow: counter, count for what MongoDB refused   4 heads of the
--   ids (filter's word and bits, 8 bytes each), bundle by bundle
--   then the bundles' names, for each how many loans and how many failures of it, the pairs, the ids.
-- A bundle that has left already has no effect. Answers the loans and failures that left, and how many ever did.
local function recorded(keys, args)
  local bundles, pairs_len, heads = tonumber(args[1]), tonumber(args[3]), args[4]
  local still = scores_of(keys[DECIDED], args, 5, 4 + bundles)
  local names, at = {}, 4 + 3 * bundles + 2 * pairs_len
  local loans, failures, id = 0, 0, 0
  -- Which of the ids leave: nearly always all of them.
  local ids, first, last, kept = args, at + 1, #args, heads
  for n = 1, bundles do
    if not still[n] then
      ids, first, last, kept = {}, 1, 0, {}
      break
    end
  end
  for n = 1, bundles do
    local accepted, failed = tonumber(args[4 + bundles + 2 * n - 1]), tonumber(args[4 + bundles + 2 * n])
    local len = accepted + failed
    if still[n] then
      names[#names + 1] = args[4 + n]
      loans, failures = loans + accepted, failures + failed
      if ids ~= args then
        for m = 1, len do ids[last + m] = args[at + id + m] end
        last = last + len
        kept[#kept + 1] = string.sub(heads, id * 8 + 1, (id + len) * 8)
      end
    end
    id = id + len
  end
  local decided, loans_sum, failures_sum = counts(keys, 'decided', 'recorded_loans', 'recorded_failures')
  if #names == 0 then return {0, 0, loans_sum + failures_sum} end
  if ids ~= args then kept = table.concat(kept) end
  -- The filter before the ids: there is no instant at which neither knows a loan.
  if last >= first then
    remember(keys, kept, last - first + 1)
    call_with_some('HDEL', keys[IDS], ids, first, last)
  end
  call_with_all('HDEL', keys[BUNDLES], names, #names)
  call_with_all('HDEL', keys[RESULTS], names, #names)
  call_with_all('HDEL', keys[TICKETS], names, #names)
  call_with_all('ZREM', keys[DECIDED], names, #names)
  redis.call('HSET', keys[COUNTERS], 'decided', decided - loans - failures, 'recorded_loans', loans_sum + loans,
    'recorded_failures', failures_sum + failures)
  if args[2] ~= '0' then redis.call('HINCRBY', keys[COUNTERS], 'duplicate_keys', args[2]) end
  for n = 1, pairs_len do
    local from = 4 + 3 * bundles + 2 * n
    redis.call('HINCRBY', keys[COUNTERS], args[from - 1], args[from])
  end
  return {loans, failures, loans_sum + failures_sum + loans + failures}
end

-- A bundle that nobody can read leaves the line, with its content and the reason. ARGV name, loans in it, reason.
-- Answers 1, 0 if it is not there, or 2 if too many stand aside already. One whose results alone are lost is decided again.
local function set_aside(keys, args)
  local name = args[1]
  if redis.call('HLEN', keys[ASIDE]) >= ASIDE_MAX then return 2 end
  local was_claimed = redis.call('ZREM', keys[CLAIMED], name)
  local was_decided = redis.call('ZREM', keys[DECIDED], name)
  if was_claimed + was_decided == 0 then return 0 end
  local content = redis.call('HGET', keys[BUNDLES], name) or ''
  local results = redis.call('HGET', keys[RESULTS], name) or ''
  if was_decided == 1 and content ~= '' and results == '' then
    redis.call('HSET', keys[COUNTERS], 'must_mend', 1)
    return 0
  end
  redis.call('HSET', keys[ASIDE], name, args[3] .. '\n' .. now_ms() .. '\n' .. struct.pack('>I4', #content) .. content .. results)
  redis.call('HDEL', keys[BUNDLES], name)
  redis.call('HDEL', keys[RESULTS], name)
  redis.call('HDEL', keys[TICKETS], name)
  local len = tonumber(args[2])
  redis.call('HINCRBY', keys[COUNTERS], was_claimed == 1 and 'claimed' or 'decided', 0 - len)
  redis.call('HINCRBY', keys[COUNTERS], 'set_aside', len)
  -- A hand may have written the number of loans.
  redis.call('HSET', keys[COUNTERS], 'must_mend', 1)
  return 1
end

-- Whether this is a count that Redis and Lua can add to.
local function is_count(text)
  return string.match(text, '^%-?%d+$') and #text <= DIGITS_MAX
end

-- Whether the keys of a partition fit together, as every function leaves them: else a hand was at them, or Redis has lost
-- one. Costs the same however long the lines are.
local function is_sound(keys)
  local all, count = redis.call('HGETALL', keys[COUNTERS]), {}
  for n = 1, #all, 2 do
    if not is_count(all[n + 1]) then return false end
    count[all[n]] = tonumber(all[n + 1])
  end
  if not count.filter_last then return true end -- not prepared: that is told otherwise
  if count.must_mend or not count.filter_first then return false end
  local first, last = generations(count.filter_first, count.filter_last)
  if not first then return false end
  for generation = first, last do
    if redis.call('STRLEN', keys[FILTERS + generation % FILTERS_LEN]) < words_in(generation) * 4 then return false end
  end
  local entries = {
    queued = redis.call('LLEN', keys[WAITING]),
    claimed = redis.call('ZCARD', keys[CLAIMED]),
    decided = redis.call('ZCARD', keys[DECIDED]),
  }
  for counter, len in pairs(entries) do
    local loans = count[counter] or 0
    if loans < 0 or len == 0 and loans > 0 then return false end
  end
  return redis.call('HLEN', keys[BUNDLES]) <= entries.queued + entries.claimed + entries.decided
    and redis.call('HLEN', keys[TICKETS]) >= entries.claimed + entries.decided
    and redis.call('HLEN', keys[RESULTS]) >= entries.decided
end

-- Makes the keys fit together again. Counts that are none are forgotten, the loans of each line are counted anew, a filter
-- that lacks a part is doubted, and a bundle that stands in no line is put into the one that it belongs to.
-- Answers {bundles put into line, then the counts that were none}.
local function mend(keys)
  local wrong, all = {}, redis.call('HGETALL', keys[COUNTERS])
  for n = 1, #all, 2 do
    if not is_count(all[n + 1]) then wrong[#wrong + 1] = all[n] end
  end
  call_with_all('HDEL', keys[COUNTERS], wrong, #wrong)
  local first, last = unpack(redis.call('HMGET', keys[COUNTERS], 'filter_first', 'filter_last'))
  local are_there = first and last
  first, last = generations(first, last)
  local is_whole = are_there and first
  if not is_whole then
    first, last = 0, 0
    redis.call('HSET', keys[COUNTERS], 'filter_first', 0, 'filter_last', 0, 'filter_loans', 0)
  end
  for generation = first, last do
    local key, len = keys[FILTERS + generation % FILTERS_LEN], words_in(generation) * 4
    if redis.call('STRLEN', key) < len then
      is_whole = false
      redis.call('SETRANGE', key, len - 1, '\0')
    end
  end
  if not is_whole then doubt_filter(keys) end
  local in_line = {}
  for from = 0, redis.call('LLEN', keys[WAITING]) - 1, STEP do
    for _, place in ipairs(redis.call('LRANGE', keys[WAITING], from, from + STEP - 1)) do
      in_line[string.sub(place, 1, NAME_LEN)] = true
    end
  end
  for _, line in ipairs({CLAIMED, DECIDED}) do
    local names = redis.call('ZRANGE', keys[line], 0, -1)
    local tickets = values_of(keys[TICKETS], names, 1, #names)
    local results = line == DECIDED and values_of(keys[RESULTS], names, 1, #names)
    for n, name in ipairs(names) do
      if not is_ticket(tickets[n], name) then
        drop(keys, line, name)
      elseif results and not results[n] and redis.call('HEXISTS', keys[BUNDLES], name) == 1 then
        redis.call('ZREM', keys[line], name)
      else
        in_line[name] = true
      end
    end
  end
  local put_back = 0
  for _, name in ipairs(redis.call('HKEYS', keys[BUNDLES])) do
    if not in_line[name] then
      local content = redis.call('HGET', keys[BUNDLES], name)
      -- As in the head: see `admit`.
      local place = #name == NAME_LEN and #content >= HEAD_LEN and name .. string.sub(content, 10, 11) .. string.sub(content, 2, 9)
      if not loans_of(place or nil) then
        put_entry_aside(keys, name)
        redis.call('HDEL', keys[BUNDLES], name)
      elseif redis.call('HEXISTS', keys[RESULTS], name) == 1 then
        redis.call('HSET', keys[TICKETS], name, place)
        redis.call('ZADD', keys[DECIDED], 0, name)
        put_back = put_back + 1
      else
        redis.call('HDEL', keys[TICKETS], name)
        redis.call('RPUSH', keys[WAITING], place)
        put_back = put_back + 1
      end
    end
  end
  recount(keys)
  redis.call('HDEL', keys[COUNTERS], 'must_mend')
  return {put_back, unpack(wrong)}
end

-- ARGV 'doubt' of the filter, or 'start' of a rebuilding. Answers 1 if the filter counted as complete; for 'start' the
-- rebuilding's token, or 0 while another is at it.
local function doubt(keys, args)
  if redis.call('HEXISTS', keys[COUNTERS], 'filter_last') == 0 then return unprepared() end
  if args[1] == 'doubt' then return doubt_filter(keys) end
  local is_complete, at = unpack(redis.call('HMGET', keys[COUNTERS], 'filter_complete', 'filter_rebuilt_ms'))
  local now = now_ms()
  if is_complete or at and math.abs(now - count_of(at)) < REBUILD_SILENT_MS then return 0 end
  redis.call('HSET', keys[COUNTERS], 'filter_rebuilt_ms', now)
  return redis.call('HINCRBY', keys[COUNTERS], 'filter_rebuilds', 1)
end

-- Puts ids into the filter that MongoDB holds. ARGV heads, the rebuilding's token, '1' if these were the last: then the
-- filter is complete. Answers 0 if the token is not, or no longer, the newest: then this Redis is another, or an older one.
local function rebuild(keys, args)
  if redis.call('HGET', keys[COUNTERS], 'filter_rebuilds') ~= args[2] then return 0 end
  if #args[1] > 0 then
    remember(keys, args[1], #args[1] / 8)
    -- There may have been no filter to put them into.
    if redis.call('HGET', keys[COUNTERS], 'filter_rebuilds') ~= args[2] then return 0 end
  end
  redis.call('HSET', keys[COUNTERS], 'filter_rebuilt_ms', now_ms())
  if args[3] == '1' then redis.call('HSET', keys[COUNTERS], 'filter_complete', 1) end
  return 1
end

-- How many failures wait is counted in MongoDB where this Redis may have lost the count. That holds only if nothing happens
-- meanwhile. ARGV nothing: answers a stamp if it has to be counted and nothing is under way, else ''. ARGV that stamp and
-- the count: answers 1 if nothing has happened since, and the count is taken.
local function count_waiting(keys, args)
  local must_count, queued, claimed, decided, admitted, retried, discarded, recorded_failures = counts(keys, 'must_count',
    'queued', 'claimed', 'decided', 'admitted', 'retried', 'discarded', 'recorded_failures')
  local is_quiet = queued + claimed + decided == 0 and redis.call('ZCARD', keys[LOOK_UPS]) == 0
  local stamp = must_count == 1 and is_quiet and string.format('%d %d %d %d', admitted, retried, discarded, recorded_failures) or ''
  if #args == 0 then return stamp end
  if stamp ~= args[1] then return 0 end
  redis.call('HSET', keys[COUNTERS], 'failed_waiting', args[2])
  redis.call('HDEL', keys[COUNTERS], 'must_count')
  return 1
end

-- ARGV 'pause' or 'resume', when that was decided in ms. Answers 1 if that changed anything. The instant is noted, so that of
-- two partitions that differ the one that was told later is known; it never goes back, whoever's clock it is of.
local function control(keys, args)
  local before = count_of(redis.call('HGET', keys[CONTROL], 'decided'))
  redis.call('HSET', keys[CONTROL], 'decided', string.format('%.0f', math.max(tonumber(args[2]), before + 1)))
  if args[1] == 'pause' then return redis.call('HSETNX', keys[CONTROL], 'paused', args[2]) end
  return redis.call('HDEL', keys[CONTROL], 'paused')
end

-- Makes the leases of a holder free, whose name begins with `holder`: what it held is given out again at once. With
-- `is_blameless` that does not count as a delivery.
local function free_leases(keys, holder, is_blameless)
  -- What nobody holds lies in DECIDED by 0: so this looks at leases alone, however long the line is.
  local leased = {
    {CLAIMED, redis.call('ZRANGE', keys[CLAIMED], 0, -1)},
    {DECIDED, redis.call('ZRANGEBYSCORE', keys[DECIDED], '(0', '+inf')},
  }
  for _, lease in ipairs(leased) do
    local names = lease[2]
    local free, kept = {}, {}
    for n, ticket in ipairs(values_of(keys[TICKETS], names, 1, #names)) do
      if ticket and string.sub(ticket, PLACE_LEN + 10, PLACE_LEN + 9 + #holder) == holder then
        free[#free + 1], free[#free + 2] = 0, names[n]
        local deliveries = string.byte(ticket, PLACE_LEN + 1) - (is_blameless and 1 or 0)
        kept[#kept + 1] = names[n]
        kept[#kept + 1] = string.sub(ticket, 1, PLACE_LEN) .. string.char(math.max(deliveries, 0)) .. NOBODY
      end
    end
    call_with_all('ZADD', keys[lease[1]], free, #free)
    if is_blameless then call_with_all('HSET', keys[TICKETS], kept, #kept) end
  end
end

-- A holder that lost an answer, or its connection, gives back what it may have been given. ARGV holder.
local function release(keys, args)
  free_leases(keys, args[1], true)
  return redis.status_reply('OK')
end

-- An instance says that it is alive. ARGV its id (6 bytes of where it runs, 5 of this start), workers, workers_max,
-- kept_ms (0: it is leaving), facts about it. Frees the leases of instances that are gone: unheard of for that long, or
-- followed by another at the same place. What does not fit together is mended, and look-ups that were given up are
-- forgotten, also where no other one comes. Answers {now in ms, what `mend` says or {},
-- then for each that is alive: id, when heard, workers, most, facts}.
local function beat(keys, args)
  local now, kept, me = now_ms(), tonumber(args[4]), args[1]
  if kept == 0 then
    redis.call('HDEL', keys[INSTANCES], me)
    free_leases(keys, me, true)
    return {now, {}}
  end
  redis.call('HSET', keys[INSTANCES], me, string.format('%d %s %s %s', now, args[2], args[3], args[5]))
  -- A key of a wrong type is told by whoever needs it, and keeps nobody from saying that he is alive.
  local is_done, mended = pcall(function()
    sweep_look_ups(keys, now)
    return is_sound(keys) and {} or mend(keys)
  end)
  local reply, all = {now, is_done and mended or {}}, redis.call('HGETALL', keys[INSTANCES])
  for n = 1, #all, 2 do
    local id = all[n]
    local at, workers, most, facts = string.match(all[n + 1], '^(%d+) (%d+) (%d+) (.*)$')
    local is_followed = id ~= me and string.sub(id, 1, 6) == string.sub(me, 1, 6)
    -- One of the future is from before the clock was set back; a hand may have written any number.
    if at and math.abs(now - at) <= kept and #workers < 7 and #most < 7 and not is_followed then
      for _, part in ipairs({id, tonumber(at), tonumber(workers), tonumber(most), facts}) do reply[#reply + 1] = part end
    else
      redis.call('HDEL', keys[INSTANCES], id)
      free_leases(keys, id, false)
    end
  end
  return reply
end

-- No allow-oom: what adds to the queue is refused when Redis is full ...
redis.register_function{function_name = 'sluice_HASH_admit', callback = admit}
-- ... and all that drains goes on, on a new connection too.
redis.register_function{function_name = 'sluice_HASH_prepare', callback = prepare, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_found', callback = found, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_discarded', callback = discarded, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_discard_over', callback = discard_over, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_claim', callback = claim, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_renew', callback = renew, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_decide', callback = decide, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_take', callback = take, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_recorded', callback = recorded, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_release', callback = release, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_set_aside', callback = set_aside, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_rebuild', callback = rebuild, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_count_waiting', callback = count_waiting, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_doubt', callback = doubt, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_control', callback = control, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_beat', callback = beat, flags = {'allow-oom'}}
redis.register_function{function_name = 'sluice_HASH_recognise', callback = recognise, flags = {'allow-oom', 'no-writes'}}
