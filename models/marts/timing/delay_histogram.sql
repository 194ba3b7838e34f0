with delay_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_delay_days'),
            columns=['workspace_id', 'delay', 'bucket', 'messages'],
            where=is_in_window('sent_date'),
            of_all=ref('fct_workspace_delays'),
        )
    }}
),

buckets as (
    select
        workspace_id,
        delay,
        bucket,
        sum(messages)::bigint as messages
    from delay_days
    group by workspace_id, delay, bucket
)

select
    workspace_id,
    delay,
    round(({{ delay_bucket_start('bucket') }})::numeric, 2)::numeric(12, 2) as from_seconds,
    round(({{ delay_bucket_end('bucket') }})::numeric, 2)::numeric(12, 2) as to_seconds,
    messages,
    round(
        100.0 * sum(messages) over (partition by workspace_id, delay order by bucket)
        / sum(messages) over (partition by workspace_id, delay),
        2
    )::numeric(5, 2) as cumulative_share
from buckets
order by workspace_id, array_position(array['delivered', 'opened', 'clicked', 'replied'], delay), bucket
