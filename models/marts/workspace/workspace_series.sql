with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

workspace_days as (
    select * from {{ ref('int_workspace_days_in_window') }}
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
                {{ bucket_start('workspace_days.sent_date::timestamp') }} as date,
                {{ summed_counts('workspace_days', series_counts()) }}
            from workspace_days
            where workspace_days.workspace_id = workspaces.workspace_id
            group by date
        ) as bucket_totals
)

{{ series_of_every_bucket('buckets', 'totals') }}
