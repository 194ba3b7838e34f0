with workspaces as (
    select * from {{ ref('int_requested_workspaces') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

previous_campaign_days as (
    select * from {{ ref('int_campaign_days_in_previous_period') }}
),

-- lateral: the sums of one workspace need no sort
totals as (
    {%- for days, is_previous in [('campaign_days', 'false'), ('previous_campaign_days', 'true')] %}
    select
        workspaces.workspace_id,
        {{ is_previous }} as is_previous,
        workspace_totals.*
    from workspaces
    cross join
        lateral (
            select
                {{ summed_counts(days, [
                    'sent', 'delivered', 'opened', 'clicked', 'replied',
                    'human_opened', 'human_clicked', 'opens_and_clicks', 'classified_opens_and_clicks',
                ]) }}
            from {{ days }}
            where {{ days }}.workspace_id = workspaces.workspace_id
        ) as workspace_totals
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    workspace_id,
    is_previous,
    sent as emails_sent,
    delivered as emails_delivered,
    opened as emails_opened,
    clicked as emails_clicked,
    replied as emails_replied,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('reply_rate') }} as reply_rate,
    human_opened as human_emails_opened,
    human_clicked as human_emails_clicked,
    {{ rate('human_open_rate') }} as human_open_rate,
    {{ rate('human_click_rate') }} as human_click_rate,
    {{ rate('human_coverage') }} as human_coverage
from totals
