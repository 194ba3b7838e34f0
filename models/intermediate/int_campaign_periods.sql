with campaigns as (
    select * from {{ ref('int_requested_campaigns') }}
),

campaign_days as (
    select * from {{ ref('int_campaign_days_in_window') }}
),

previous_campaign_days as (
    select * from {{ ref('int_campaign_days_in_previous_period') }}
),

-- lateral: the sums of one campaign need no sort
totals as (
    {%- for days, is_previous in [('campaign_days', 'false'), ('previous_campaign_days', 'true')] %}
    select
        campaigns.workspace_id,
        campaigns.campaign_id,
        {{ is_previous }} as is_previous,
        campaign_totals.*
    from campaigns
    cross join
        lateral (
            select
                {{ summed_counts(days, [
                    'sent', 'delivered', 'bounced', 'opened', 'clicked',
                    'replied', 'complained', 'unsubscribed', 'human_opened', 'human_clicked',
                    'opens_and_clicks', 'classified_opens_and_clicks',
                ]) }}
            from {{ days }}
            where
                {{ days }}.workspace_id = campaigns.workspace_id
                and {{ days }}.campaign_id = campaigns.campaign_id
        ) as campaign_totals
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
)

select
    workspace_id,
    campaign_id,
    is_previous,
    sent as emails_sent,
    delivered as emails_delivered,
    bounced as emails_bounced,
    opened as emails_opened,
    clicked as emails_clicked,
    replied as emails_replied,
    complained as spam_complaints,
    unsubscribed as unsubscribes,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('click_to_open_rate') }} as click_to_open_rate,
    {{ rate('reply_rate') }} as reply_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('unsubscribe_rate') }} as unsubscribe_rate,
    human_opened as human_emails_opened,
    human_clicked as human_emails_clicked,
    {{ rate('human_open_rate') }} as human_open_rate,
    {{ rate('human_click_rate') }} as human_click_rate,
    {{ rate('human_coverage') }} as human_coverage
from totals
