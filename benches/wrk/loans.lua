-- Distinct loans for wrk: each thread counts for itself. The body is that of a real application.
local threads = 0
function setup(thread)
  thread:set('number', threads)
  threads = threads + 1
end

local run = os.getenv('SLUICE_RUN') or 'r'
local sent = 0
local before, after

function init()
  wrk.method = 'POST'
  wrk.headers['Content-Type'] = 'application/json'
  before = '{"loanId":"' .. run .. '-' .. number .. '-'
  after = '","amount":1169.00,"currency":"DEM","termMonths":6,"purpose":"radio/television","creditScore":712,' ..
    '"applicant":{"name":"Elke Hartmann","email":"elke.hartmann.17@example.org","phone":"+49 30 1234567",' ..
    '"annualIncome":42000.00,"ageYears":67}}'
end

function request()
  sent = sent + 1
  return wrk.format(nil, nil, nil, before .. sent .. after)
end
