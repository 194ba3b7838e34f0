{%- set counts = workspace_counts() + ['bounced', 'complained'] + human_counts() %}

with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

buckets as (
    {{ request_buckets() }}
),

-- lateral: only the days of the requested workspace are summed
totals as (
    select
        workspaces.workspace_id,
        bucket_totals.*
    from workspaces
    cross join
        lateral (
            select
                {{ bucket_start('campaign_days.sent_date::timestamp') }} as date,
                {{ summed_counts('campaign_days', counts) }}
            from campaign_days
            where campaign_days.workspace_id = workspaces.workspace_id
            group by date
        ) as bucket_totals
),

-- complete: a bucket without mail has a row of zeros
complete as (
    select
        workspace_id,
        date,
        {{ counts_or_zero('totals', counts) }}
    from workspaces
    cross join buckets
    left join totals using (workspace_id, date)
)

select
    workspace_id,
    date,
    sent,
    delivered,
    opened,
    clicked,
    replied,
    bounced,
    complained as spam_complaints,
    {{ public_rates(workspace_rates() + ['bounce_rate'] + human_rates()) }}
from complete
order by workspace_id, date
