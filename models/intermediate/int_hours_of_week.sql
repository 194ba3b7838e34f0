with send_hours as (
    select * from {{ ref('int_send_hours') }}
)

select
    workspace_id,
    weekday,
    hour,
    sum(sent) as sent,
    sum(opened) as opened,
    sum(clicked) as clicked,
    sum(replied) as replied
from send_hours
group by workspace_id, weekday, hour
