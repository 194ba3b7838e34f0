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
),

cumulative as (
    select
        *,
        sum(messages) over (partition by workspace_id, delay order by bucket)::bigint as messages_until,
        sum(messages) over (partition by workspace_id, delay)::bigint as all_messages
    from buckets
),

-- the message at which the share is reached
ranked as (
    select
        cumulative.*,
        shares.percent,
        ceil(cumulative.all_messages * shares.percent / 100.0)::bigint as message_rank
    from cumulative
    cross join (values (50), (90), (95)) as shares (percent)
),

percentiles as (
    select
        workspace_id,
        delay,
        percent,
        all_messages,
        {{ delay_in_bucket('bucket', '(message_rank - (messages_until - messages))', 'messages') }} as seconds
    from ranked
    where message_rank > messages_until - messages and message_rank <= messages_until
)

select
    workspace_id,
    delay,
    max(all_messages) as messages,
    round((max(seconds) filter (where percent = 50))::numeric, 1)::numeric(12, 1) as p50_seconds,
    round((max(seconds) filter (where percent = 90))::numeric, 1)::numeric(12, 1) as p90_seconds,
    round((max(seconds) filter (where percent = 95))::numeric, 1)::numeric(12, 1) as p95_seconds
from percentiles
group by workspace_id, delay
order by workspace_id, array_position(array['delivered', 'opened', 'clicked', 'replied'], delay)
