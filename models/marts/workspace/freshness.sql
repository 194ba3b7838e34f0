with publications as (
    select
        target,
        batch_id,
        -- a continuous build that finds nothing new publishes nothing
        greatest(data_as_of, current_until) as data_as_of,
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

-- as of the request's batch, like all other endpoints
current_publication as (
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

last_batch as (
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
    current_publication.data_as_of as data_through,
    current_publication.late_after,
    now() > current_publication.late_after as is_late,
    current_publication.batch_id,
    current_publication.published_at,
    last_batch.batch_id as last_batch_id,
    last_batch.status as last_batch_status,
    last_batch.started_at as last_batch_started_at,
    last_batch.ended_at as last_batch_ended_at
from current_publication
cross join last_batch
