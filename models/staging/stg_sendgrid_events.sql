with {{ webhook_bodies('sendgrid') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'event' as provider_event,
        coalesce(body ->> 'reason', body ->> 'response') as diagnostic,
        coalesce(body -> 'unique_args', body -> 'custom_args', '{}') as nested_arguments
    from bodies
),

events as (
    select
        workspace_id,
        coalesce(body ->> 'anymail_id', body ->> 'smtp-id', body ->> 'sg_message_id') as provider_message_id,
        -- Opens and clicks have no smtp-id, delayed bounces no sg_message_id. All events of a request share the part of
        -- sg_message_id before the name of a SendGrid server, and the part before the @ of an smtp-id that SendGrid made.
        coalesce(
            substring(body ->> 'sg_message_id' from '^(.+?)[.](?:filter|recvd)'),
            nullif(split_part(body ->> 'sg_message_id', '.', 1), ''),
            substring(body ->> 'smtp-id' from '^<?([^<>@]+)@[^<>@]*ismtpd'),
            nullif(body ->> 'smtp-id', '')
        ) as message_key,
        body ->> 'email' as recipient,
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
        coalesce(body ->> 'campaign_id', nested_arguments ->> 'campaign_id') as campaign_id,
        coalesce(body ->> 'mailbox_id', nested_arguments ->> 'mailbox_id') as mailbox_id,
        coalesce(body ->> 'domain_id', nested_arguments ->> 'domain_id') as domain_id,
        coalesce(
            {{ enhanced_status_code("body ->> 'status'") }}, {{ enhanced_status_code('diagnostic') }}
        ) as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case
            when provider_event in ('bounce', 'blocked')
                then concat_ws('/', coalesce(body ->> 'type', provider_event), body ->> 'bounce_classification')
        end as bounce_type,
        diagnostic,
        body ->> 'url' as url,
        body ->> 'useragent' as user_agent,
        {{ try_cast("body ->> 'sg_machine_open'", 'boolean') }} as is_machine,
        {{ epoch_to_timestamp("body ->> 'timestamp'") }} as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('sendgrid') }}
