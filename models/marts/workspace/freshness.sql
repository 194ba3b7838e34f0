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

-- one row; a scheduler that has taken no turn for so long is no longer what builds
continuous_builds as (
    select max(every_seconds) as every_seconds
    from {{ source('app', 'continuous_builds') }}
    where target = '{{ warehouse_name() }}' and checked_at > now() - interval '{{ var("hours_until_late") }} hours'
),

-- as of the request's batch, like all other endpoints
current_publication as (
    select
        batch_id,
        data_as_of,
        published_at
    from publications
    where target = '{{ warehouse_name() }}' and withdrawn_at is null and batch_id <= {{ request_as_of() }}
    order by batch_id desc
    limit 1
),

expected_publication as (
    select
        current_publication.batch_id,
        current_publication.data_as_of,
        current_publication.published_at,
        continuous_builds.every_seconds,
        -- a row can miss a build that has just begun, and the next one begins an interval later. least() ignores null
        least(
            current_publication.data_as_of + interval '{{ var("hours_until_late") }} hours',
            current_publication.data_as_of
            + 2 * continuous_builds.every_seconds * interval '1 second'
            + interval '{{ var("minutes_to_build") }} minutes'
        ) as late_after
    from current_publication
    cross join continuous_builds
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
    expected_publication.data_as_of as data_through,
    expected_publication.late_after,
    now() > expected_publication.late_after as is_late,
    expected_publication.every_seconds as build_interval_seconds,
    expected_publication.batch_id,
    expected_publication.published_at,
    last_batch.batch_id as last_batch_id,
    last_batch.status as last_batch_status,
    last_batch.started_at as last_batch_started_at,
    last_batch.ended_at as last_batch_ended_at
from expected_publication
cross join last_batch
