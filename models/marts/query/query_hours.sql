-- in half hours: some zones move their clocks by one
select distinct date_trunc('hour', half_hour, {{ query_timezone() }}) as hour
from
    generate_series(
        {{ request_range_start() }}::timestamp at time zone {{ query_timezone() }},
        ({{ request_range_end() }} + 1)::timestamp at time zone {{ query_timezone() }} - interval '1 second',
        interval '30 minutes'
    ) as half_hour
