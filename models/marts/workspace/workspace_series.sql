with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

dates as (
    {{ request_buckets() }}
),

buckets as (
    select
        workspaces.workspace_id,
        dates.date
    from workspaces
    cross join dates
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
                {{ summed_counts('campaign_days', series_counts()) }}
            from campaign_days
            where campaign_days.workspace_id = workspaces.workspace_id
            group by date
        ) as bucket_totals
)

{{ series_of_every_bucket('buckets', 'totals') }}
