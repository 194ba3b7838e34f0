{{
    config(
        unique_key=['workspace_id', 'message_id'],
        meta={
            'recompute_scope': is_not_closed('existing'),
            'without_statistics': [
                'provider_message_id', 'tags', 'first_deferred_at', 'first_replied_at', 'first_complained_at',
                'first_unsubscribed_at',
            ],
        },
    )
}}

{#- an event of an unknown type decides nothing #}
{%- set is_known_type = 'event_type in (' ~ known_event_types() ~ ')' %}

{#- in an empty table every message is new #}
{%- set is_incremental_run = is_incremental_run() and not is_empty() %}
{%- set parts = ['true'] if is_incremental_run else ranges_of_workspaces(ref('fct_email_events'), 'message_id') %}
{#- if none has changed, which is usual, no message is looked for #}
{%- set providers_changed = is_incremental_run and has_changed_rows(ref('dim_recipient_providers')) %}

with events as not materialized (
    select * from {{ ref('fct_email_events') }}
    where {{ is_current() }}
),

recipient_providers as (
    select
        domain,
        recipient_provider
    from {{ ref('dim_recipient_providers') }}
    where {{ is_current() }}
),

{% if is_incremental_run %}
changed_messages as {{ 'not ' if is_distributed() }}materialized (
    {{ changed_keys(ref('fct_email_events'), ['workspace_id', 'message_id']) }}
    {%- if providers_changed %}
        union
        {{ messages_of_changed_providers(ref('dim_recipient_providers')) | indent(8) }}
    {%- endif %}
),
{% endif %}

message_events as {{ 'not ' if not is_incremental_run or is_distributed() }}materialized (
    select
        workspace_id,
        message_id,
        events.event_id,
        events.provider,
        events.provider_message_id,
        events.is_under_alias,
        events.campaign_id,
        events.mailbox_id,
        events.domain_id,
        events.sequence_id,
        events.step,
        events.variant,
        events.tags,
        events.recipient_domain,
        events.recipient_hash,
        events.event_type,
        events.occurred_at,
        events.bounce_reason,
        events.url,
        events.is_hard_bounce,
        events.is_machine
    {%- if is_incremental_run %}
    from changed_messages
    left join {{ lateral_lookup('events', ['workspace_id', 'message_id'], of='changed_messages') }} as events
        using (workspace_id, message_id)
    {%- else %}
    from events
    {%- endif %}
),

clicks as {{ 'not ' if is_distributed() }}materialized (
    select
        workspace_id,
        message_id,
        is_machine,
        -- cut, because a link is short, and a URL need not be
        left(coalesce(url, ''), 1000) as url
    from message_events
    where event_type = 'clicked'
),

{% if is_distributed() -%}
-- on the node of each message
clicks_of_links as (
    select
        workspace_id,
        message_id,
        {{ link_of_on_nodes('url') }} as link,
        count(*) as clicks,
        count(*) filter (where is_machine is not true) as human_clicks
    from clicks
    group by 1, 2, 3
),

{% else -%}
-- regular expressions are expensive, and most clicks are of few URLs
clicked_urls as materialized (
    select distinct url from clicks
),

links as materialized (
    select
        url,
        {{ link_of('url') }} as link
    from clicked_urls
),

clicks_of_links as (
    select
        clicks.workspace_id,
        clicks.message_id,
        links.link,
        count(*) as clicks,
        count(*) filter (where clicks.is_machine is not true) as human_clicks
    from clicks
    -- each has the other: a full join can only be a hash join, whatever number of clicks the planner expects
    full join links on clicks.url = links.url
    group by clicks.workspace_id, clicks.message_id, links.link
),

{% endif -%}
links_of_messages as (
    select
        workspace_id,
        message_id,
        jsonb_object_agg(link, jsonb_build_array(clicks, human_clicks)) as clicked_links
    from clicks_of_links
    group by workspace_id, message_id
),

-- aggregates with an order are made by one process: a first build has more than one of them at the same time
aggregated as (
    {%- for part in parts %}
    select
        workspace_id,
        message_id,
        max(provider collate "C") as provider,
        -- the first of these that any event has: an id of the sender's; SendGrid's own, which begins message_id; that of an event
        -- under an alias. The order of the events decides nothing, so the id never changes. One aggregate costs less than three.
        substr(
            min(
                (
                    case when is_under_alias then '3' when starts_with(message_id, provider_message_id) then '2' else '1' end
                    || nullif(provider_message_id, '')
                ) collate "C"
            ),
            2
        ) as provider_message_id,
        {{ latest_non_empty('campaign_id', is_known_type) }} as campaign_id,
        {{ latest_non_empty('mailbox_id', is_known_type) }} as mailbox_id,
        {{ latest_non_empty('domain_id', is_known_type) }} as domain_id,
        {{ latest_non_empty('sequence_id', is_known_type) }} as sequence_id,
        {{ latest_non_empty('step', is_known_type) }} as step,
        {{ latest_non_empty('variant', is_known_type) }} as variant,
        {{ latest_non_empty('tags', is_known_type, is_present='tags is not null') }} as tags,
        {{ latest_non_empty('recipient_domain', is_known_type) }} as recipient_domain,
        {{ latest_non_empty('bounce_reason', 'is_hard_bounce') }} as hard_bounce_reason,
        {{ latest_non_empty('bounce_reason') }} as bounce_reason,
        count(event_id) as event_count,
        -- as numbers, which are compared in less time than texts
        min(hashtext(recipient_hash)) <> max(hashtext(recipient_hash)) as has_several_recipients,
        min(occurred_at) filter (where event_type = 'sent') as first_sent_at,
        min(occurred_at) filter (where event_type = 'queued') as first_queued_at,
        min(occurred_at) filter (where event_type = 'delivered') as first_delivered_at,
        min(occurred_at) filter (where event_type = 'deferred') as first_deferred_at,
        min(occurred_at) filter (where event_type = 'bounced') as first_bounced_at,
        min(occurred_at) filter (where event_type = 'rejected') as first_rejected_at,
        min(occurred_at) filter (where event_type = 'failed') as first_failed_at,
        min(occurred_at) filter (where event_type in ('opened', 'clicked')) as first_opened_at,
        min(occurred_at) filter (where event_type in ('opened', 'clicked') and is_machine is not true) as first_human_opened_at,
        min(occurred_at) filter (where event_type = 'clicked') as first_clicked_at,
        min(occurred_at) filter (where event_type = 'clicked' and is_machine is not true) as first_human_clicked_at,
        min(occurred_at) filter (where event_type = 'replied') as first_replied_at,
        min(occurred_at) filter (where event_type = 'complained') as first_complained_at,
        min(occurred_at) filter (where event_type = 'unsubscribed') as first_unsubscribed_at,
        count(*) filter (where event_type in ('opened', 'clicked')) as opens_and_clicks,
        count(is_machine) filter (where event_type in ('opened', 'clicked')) as classified_opens_and_clicks
    from message_events
    where {{ part }}
    group by workspace_id, message_id
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

attempted as (
    select
        *,
        coalesce(first_delivered_at, first_deferred_at, first_bounced_at) is not null as was_attempted
    from aggregated
),

with_sent_at as (
    select
        *,
        coalesce(
            -- rejected before sending, without any attempt to deliver it: never sent, although SES sends a Send event first
            case when first_rejected_at is null or was_attempted then first_sent_at end,
            case when coalesce(first_rejected_at, first_failed_at) is null or was_attempted then first_queued_at end,
            first_delivered_at,
            first_deferred_at,
            first_bounced_at
        ) as sent_at,
        first_delivered_at is not null and first_bounced_at is null as is_delivered
    from attempted
)

select
    workspace_id,
    message_id,
    provider,
    provider_message_id,
    coalesce(campaign_id, '') as campaign_id,
    coalesce(mailbox_id, '') as mailbox_id,
    coalesce(domain_id, '') as domain_id,
    sequence_id,
    step,
    variant,
    tags,
    coalesce(recipient_domain, '') as recipient_domain,
    case
        when coalesce(recipient_domain, '') = '' then ''
        else coalesce(recipient_providers.recipient_provider, 'other')
    end as recipient_provider,
    -- a hard bounce outweighs any soft one
    coalesce(hard_bounce_reason, bounce_reason, '') as bounce_reason,
    sent_at is not null as is_sent,
    first_bounced_at is not null as is_bounced,
    hard_bounce_reason is not null as is_hard_bounced,
    is_delivered,
    is_delivered and first_opened_at is not null as is_opened,
    is_delivered and first_clicked_at is not null as is_clicked,
    is_delivered and first_replied_at is not null as is_replied,
    is_delivered and first_complained_at is not null as is_complained,
    is_delivered and first_unsubscribed_at is not null as is_unsubscribed,
    is_delivered and first_human_opened_at is not null as is_human_opened,
    is_delivered and first_human_clicked_at is not null as is_human_clicked,
    case when is_delivered then opens_and_clicks else 0 end::int as opens_and_clicks,
    case when is_delivered then classified_opens_and_clicks else 0 end::int as classified_opens_and_clicks,
    case when is_delivered then clicked_links end as clicked_links,
    coalesce(has_several_recipients, false) as has_several_recipients,
    (sent_at at time zone 'UTC')::date as sent_date,
    sent_at,
    first_delivered_at,
    first_deferred_at,
    first_bounced_at,
    first_opened_at,
    first_clicked_at,
    first_replied_at,
    first_complained_at,
    first_unsubscribed_at,
    first_human_opened_at,
    first_human_clicked_at,
    {{ batch_id() }}::bigint as valid_from,
    -- a message without events any more is deleted
    {{ valid_to_or_tombstone('event_count = 0') }} as valid_to
from with_sent_at
-- a message with clicks is among them: a full join for the same reason as above
full join links_of_messages using (workspace_id, message_id)
left join recipient_providers on with_sent_at.recipient_domain = recipient_providers.domain
