{%- set columns = [
    'workspace_id',
    'message_id',
    'provider_message_id',
    'campaign_id',
    'mailbox_id',
    'domain_id',
    'recipient_domain',
    'bounce_reason',
    'is_delivered',
    'is_bounced',
    'is_hard_bounced',
    'is_opened',
    'is_human_opened',
    'is_clicked',
    'is_human_clicked',
    'is_replied',
    'is_complained',
    'is_unsubscribed',
    'sent_date',
    'sent_at',
    'first_delivered_at',
    'first_bounced_at',
    'first_opened_at',
    'first_clicked_at',
    'first_replied_at',
    'first_complained_at',
    'first_unsubscribed_at',
] %}

with campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where {{ is_visible_as_of('dim_campaigns') }}
),

bounce_reasons as (
    select
        bounce_reason,
        label
    from {{ ref('dim_bounce_reasons') }} as dim_bounce_reasons
    where {{ is_visible_as_of('dim_bounce_reasons', has_workspace=false) }}
),

-- current and expired versions apart: each half has an index, and the whole table has none
messages as (
    select {{ columns | join(', ') }}
    from {{ ref('fct_messages') }} as fct_messages
    where {{ is_current() }} and {{ is_visible_as_of('fct_messages') }}
    union all
    select {{ columns | join(', ') }}
    from {{ ref('fct_messages') }} as fct_messages
    where valid_to < {{ open_ended() }} and {{ is_visible_as_of('fct_messages') }}
),

requested as (
    select * from messages
    where
        {{ is_in_window('sent_date') }}
        and {{ is_requested_campaign('campaign_id') }}
)

select
    workspace_id,
    requested.message_id,
    requested.provider_message_id,
    campaign_id,
    campaigns.campaign_name,
    requested.mailbox_id,
    requested.domain_id,
    requested.recipient_domain,
    requested.sent_at,
    requested.is_delivered,
    requested.is_bounced,
    requested.is_hard_bounced,
    bounce_reasons.label as bounce_reason,
    requested.is_opened,
    requested.is_human_opened,
    requested.is_clicked,
    requested.is_human_clicked,
    requested.is_replied,
    requested.is_complained,
    requested.is_unsubscribed,
    requested.first_delivered_at,
    requested.first_bounced_at,
    requested.first_opened_at,
    requested.first_clicked_at,
    requested.first_replied_at,
    requested.first_complained_at,
    requested.first_unsubscribed_at
from requested
left join campaigns using (workspace_id, campaign_id)
left join bounce_reasons using (bounce_reason)
