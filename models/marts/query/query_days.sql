-- a series of days is complete: a bucket without mail is there
select
    day::date as day,
    greatest(date_trunc('week', day)::date, {{ request_range_start() }}) as week,
    greatest(date_trunc('month', day)::date, {{ request_range_start() }}) as month
-- timestamps: a series of dates steps in the session's zone, and loses a day if its clocks change at midnight
from generate_series({{ request_range_start() }}::timestamp, {{ request_range_end() }}::timestamp, interval '1 day') as day
