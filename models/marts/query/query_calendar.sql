-- MetricFlow and dbt want a table of days; the API does not read it
select day::date as date_day
-- timestamps: a series of dates steps in the session's zone, and loses a day if its clocks change at midnight
from generate_series(timestamp '2000-01-01', timestamp '2100-12-31', interval '1 day') as day
