{%- set counts = [
    'sent', 'delivered', 'deferred', 'bounced', 'hard_bounced', 'opened', 'clicked', 'replied', 'complained', 'unsubscribed',
] %}

with provider_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_provider_days'),
            columns=['workspace_id', 'recipient_provider'] + counts,
            where=is_in_window('sent_date'),
            of_all=ref('fct_workspace_provider_days'),
        )
    }}
),

limits as (
    select
        recipient_provider,
        metric,
        warning_at,
        critical_at
    from {{ ref('dim_published_limits') }} as dim_published_limits
    where {{ is_visible_as_of('dim_published_limits', has_workspace=false) }}
),

totals as (
    select
        workspace_id,
        recipient_provider,
        {{ summed_counts('provider_days', counts) }}
    from provider_days
    group by workspace_id, recipient_provider
),

-- delays are known by provider or by campaign, not by both
delay_buckets as (
    select
        workspace_id,
        recipient_provider,
        bucket,
        sum(messages)::bigint as messages
    from {{ ref('fct_provider_delays') }} as fct_provider_delays
    where
        {{ is_visible_as_of('fct_provider_delays') }}
        and {{ is_in_window('sent_date') }}
        and {{ request_campaign_id() }} is null
    group by workspace_id, recipient_provider, bucket
),

cumulative_delays as (
    select
        *,
        sum(messages) over (partition by workspace_id, recipient_provider order by bucket)::bigint as messages_until,
        sum(messages) over (partition by workspace_id, recipient_provider)::bigint as all_messages
    from delay_buckets
),

-- the messages at which half and 95 % are reached
delay_ranks as (
    select
        cumulative_delays.*,
        shares.percent,
        ceil(cumulative_delays.all_messages * shares.percent / 100.0)::bigint as message_rank
    from cumulative_delays
    cross join (values (50), (95)) as shares (percent)
),

delays as (
    select
        workspace_id,
        recipient_provider,
        percent,
        {{ delay_in_bucket('bucket', '(message_rank - (messages_until - messages))', 'messages') }} as seconds
    from delay_ranks
    where message_rank > messages_until - messages and message_rank <= messages_until
),

delay_percentiles as (
    select
        workspace_id,
        recipient_provider,
        round((max(seconds) filter (where percent = 50))::numeric, 1)::numeric(12, 1) as p50_seconds,
        round((max(seconds) filter (where percent = 95))::numeric, 1)::numeric(12, 1) as p95_seconds
    from delays
    group by workspace_id, recipient_provider
),

with_workspace_totals as (
    select
        *,
        sum(sent) over (partition by workspace_id)::bigint as all_sent,
        sum(delivered) over (partition by workspace_id)::bigint as all_delivered,
        sum(bounced) over (partition by workspace_id)::bigint as all_bounced,
        sum(opened) over (partition by workspace_id)::bigint as all_opened,
        sum(clicked) over (partition by workspace_id)::bigint as all_clicked,
        sum(replied) over (partition by workspace_id)::bigint as all_replied,
        sum(complained) over (partition by workspace_id)::bigint as all_complained
    from totals
),

-- a provider's own limits; those without a provider are for all others
with_limits as (
    select
        with_workspace_totals.*,
        coalesce(own_spam.warning_at, any_spam.warning_at) as spam_rate_warning_at,
        coalesce(own_spam.critical_at, any_spam.critical_at) as spam_rate_critical_at,
        coalesce(own_bounces.warning_at, any_bounces.warning_at) as hard_bounce_rate_warning_at,
        coalesce(own_bounces.critical_at, any_bounces.critical_at) as hard_bounce_rate_critical_at
    from with_workspace_totals
    left join limits as own_spam
        on with_workspace_totals.recipient_provider = own_spam.recipient_provider and own_spam.metric = 'spam_rate'
    left join limits as any_spam on any_spam.recipient_provider = '' and any_spam.metric = 'spam_rate'
    left join limits as own_bounces
        on with_workspace_totals.recipient_provider = own_bounces.recipient_provider and own_bounces.metric = 'hard_bounce_rate'
    left join limits as any_bounces on any_bounces.recipient_provider = '' and any_bounces.metric = 'hard_bounce_rate'
),

with_status as (
    select
        *,
        {{ limit_status('spam_rate') }} as spam_rate_status,
        {{ limit_status('hard_bounce_rate') }} as hard_bounce_rate_status
    from with_limits
)

select
    workspace_id,
    coalesce(nullif(recipient_provider, ''), 'unknown') as recipient_provider,
    {{ worst_status(['spam_rate_status', 'hard_bounce_rate_status']) }} as status,
    spam_rate_status,
    hard_bounce_rate_status,
    sent as emails_sent,
    delivered as emails_delivered,
    deferred as emails_deferred,
    bounced as emails_bounced,
    hard_bounced as hard_bounces,
    opened as emails_opened,
    clicked as emails_clicked,
    replied as emails_replied,
    complained as spam_complaints,
    unsubscribed as unsubscribes,
    {{ rate('delivery_rate') }} as delivery_rate,
    {{ rate('deferral_rate') }} as deferral_rate,
    {{ rate('bounce_rate') }} as bounce_rate,
    {{ rate('hard_bounce_rate') }} as hard_bounce_rate,
    {{ rate('open_rate') }} as open_rate,
    {{ rate('click_rate') }} as click_rate,
    {{ rate('reply_rate') }} as reply_rate,
    {{ rate('spam_rate') }} as spam_rate,
    {{ rate('unsubscribe_rate') }} as unsubscribe_rate,
    {{ rate_difference_from_others('delivery_rate') }} as delivery_rate_difference,
    {{ rate_difference_from_others('bounce_rate') }} as bounce_rate_difference,
    {{ rate_difference_from_others('open_rate') }} as open_rate_difference,
    {{ rate_difference_from_others('click_rate') }} as click_rate_difference,
    {{ rate_difference_from_others('reply_rate') }} as reply_rate_difference,
    {{ rate_difference_from_others('spam_rate') }} as spam_rate_difference,
    delay_percentiles.p50_seconds as delivery_p50_seconds,
    delay_percentiles.p95_seconds as delivery_p95_seconds
from with_status
left join delay_percentiles using (workspace_id, recipient_provider)
order by workspace_id asc, emails_sent desc, recipient_provider collate "C" asc
