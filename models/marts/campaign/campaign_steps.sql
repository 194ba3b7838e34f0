{%- set max_steps = 500 %}
{%- set counts = [
    'sent', 'delivered', 'bounced', 'opened', 'clicked', 'replied', 'complained', 'unsubscribed', 'human_opened', 'human_clicked',
] %}

with step_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_step_days'),
            columns=['workspace_id', 'campaign_id', 'sequence_id', 'step', 'variant'] + counts,
            where=is_in_window('sent_date'),
        )
    }}
),

totals as (
    select
        workspace_id,
        campaign_id,
        sequence_id,
        step,
        variant,
        {{ summed_counts('step_days', counts) }}
    from step_days
    group by workspace_id, campaign_id, sequence_id, step, variant
),

-- a sender who writes another step into each message has no steps
ranked as (
    select
        *,
        row_number() over (
            partition by workspace_id, campaign_id
            order by sent desc, sequence_id collate "C", step collate "C", variant collate "C"
        ) as place
    from totals
)

select
    workspace_id,
    campaign_id,
    nullif(sequence_id, '') as sequence_id,
    nullif(step, '') as step,
    nullif(variant, '') as variant,
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
    {{ rate('human_click_rate') }} as human_click_rate
from ranked
where place <= {{ max_steps }}
-- 10 comes after 9, and a step that is no number after those that are
order by
    workspace_id, campaign_id, sequence_id collate "C", substring(step from '^[0-9]{1,18}')::bigint nulls last, step collate "C",
    variant collate "C"
