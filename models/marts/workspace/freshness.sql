with publications as (
    select
        target,
        batch_id,
        data_as_of,
        published_at,
        withdrawn_at
    from {{ source('app', 'publications') }}
),

batches as (
    select
        target,
        batch_id,
        status,
        started_at,
        ended_at
    from {{ source('app', 'batches') }}
),

-- as of the request's batch: what is said of the data is said of those that the other endpoints answer with
served as (
    select
        batch_id,
        data_as_of,
        published_at,
        data_as_of + interval '{{ var("hours_until_late") }} hours' as late_after
    from publications
    where target = '{{ warehouse_name() }}' and withdrawn_at is null and batch_id <= {{ request_as_of() }}
    order by batch_id desc
    limit 1
),

latest as (
    select
        batch_id,
        status,
        started_at,
        ended_at
    from batches
    where target = '{{ warehouse_name() }}'
    order by batch_id desc
    limit 1
)

select
    served.data_as_of as data_through,
    served.late_after,
    now() > served.late_after as is_late,
    served.batch_id,
    served.published_at,
    latest.batch_id as last_batch_id,
    latest.status as last_batch_status,
    latest.started_at as last_batch_started_at,
    latest.ended_at as last_batch_ended_at
from served
cross join latest
