with payloads as (
    select * from {{ source('raw', 'webhook_payloads') }}
    where provider = 'sendgrid'
),

-- a body is an array of events, or one event
elements as (
    select
        payloads.workspace_id,
        payloads.loaded_at,
        element
    from payloads
    cross join lateral jsonb_path_query(payloads.payload, '$[*]') as element
    where jsonb_typeof(element) = 'object'
),

named as (
    select
        workspace_id,
        loaded_at,
        element,
        element ->> 'event' as provider_event,
        coalesce(element ->> 'reason', element ->> 'response') as diagnostic,
        coalesce(element -> 'unique_args', element -> 'custom_args', '{}') as nested_arguments
    from elements
),

events as (
    select
        workspace_id,
        coalesce(element ->> 'anymail_id', element ->> 'smtp-id', element ->> 'sg_message_id') as provider_message_id,
        -- opens and clicks carry no smtp-id; before its first dot stands what all events of a request share
        coalesce(nullif(split_part(element ->> 'sg_message_id', '.', 1), ''), element ->> 'smtp-id') as message_key,
        element ->> 'email' as recipient,
        provider_event,
        case provider_event
            when 'processed' then 'queued'
            when 'deferred' then 'deferred'
            when 'delivered' then 'delivered'
            when 'bounce' then 'bounced'
            when 'blocked' then 'bounced'
            when 'dropped' then 'rejected'
            when 'open' then 'opened'
            when 'click' then 'clicked'
            when 'spamreport' then 'complained'
            when 'unsubscribe' then 'unsubscribed'
            when 'group_unsubscribe' then 'unsubscribed'
            when 'group_resubscribe' then 'subscribed'
            else provider_event
        end as event_type,
        coalesce(element ->> 'campaign_id', nested_arguments ->> 'campaign_id') as campaign_id,
        coalesce(element ->> 'mailbox_id', nested_arguments ->> 'mailbox_id') as mailbox_id,
        coalesce(element ->> 'domain_id', nested_arguments ->> 'domain_id') as domain_id,
        coalesce(
            {{ enhanced_status_code("element ->> 'status'") }}, {{ enhanced_status_code('diagnostic') }}
        ) as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case when provider_event in ('bounce', 'blocked') then coalesce(element ->> 'type', provider_event) end as bounce_type,
        diagnostic,
        element ->> 'url' as url,
        element ->> 'useragent' as user_agent,
        {{ try_cast("element ->> 'sg_machine_open'", 'boolean') }} as is_machine,
        {{ epoch_to_timestamp("element ->> 'timestamp'") }} as occurred_at,
        loaded_at
    from named
),
{{ as_email_events('sendgrid') }}
