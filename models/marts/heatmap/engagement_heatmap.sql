with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

hours as (
    select * from {{ ref('int_hours_of_week') }}
),

-- 7 days of 4 periods, or of 24 hours
cells as (
    select
        workspaces.workspace_id,
        weekday,
        periods.time_period,
        periods.first_hour,
        periods.last_hour
    from workspaces
    cross join generate_series(1, 7) as weekday
    cross join (
        values
        ('nighttime', 0, 5),
        ('early_morning', 6, 8),
        ('office_hours', 9, 16),
        ('evening', 17, 23)
    ) as periods (time_period, first_hour, last_hour)
    where {{ request_granularity() }} = 'period'
    union all
    select
        workspaces.workspace_id,
        weekday,
        null as time_period,
        hour as first_hour,
        hour as last_hour
    from workspaces
    cross join generate_series(1, 7) as weekday
    cross join generate_series(0, 23) as hour
    where {{ request_granularity() }} = 'hour'
),

totals as (
    select
        cells.workspace_id,
        cells.weekday,
        cells.time_period,
        cells.first_hour,
        coalesce(sum(hours.sent), 0) as sent,
        coalesce(sum(hours.opened), 0) as opened,
        coalesce(sum(hours.clicked), 0) as clicked,
        coalesce(sum(hours.replied), 0) as replied
    from cells
    left join hours
        on
            cells.workspace_id = hours.workspace_id
            and cells.weekday = hours.weekday
            and hours.hour between cells.first_hour and cells.last_hour
    group by cells.workspace_id, cells.weekday, cells.time_period, cells.first_hour
)

select
    workspace_id,
    {{ weekday_name('weekday') }} as day_of_week,
    time_period,
    case when time_period is null then first_hour end as hour,
    sent::bigint as emails_sent,
    opened::bigint as emails_opened,
    {{ rate('cell_open_rate') }} as open_rate,
    coalesce(round({{ engagement_score('totals') }}, 2), 0)::numeric(5, 2) as engagement_score
from totals
order by workspace_id, weekday, first_hour
