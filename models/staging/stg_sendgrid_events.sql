with {{ webhook_bodies('sendgrid') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'event' as provider_event,
        coalesce(body ->> 'reason', body ->> 'response') as diagnostic,
        coalesce(body -> 'unique_args', body -> 'custom_args', '{}') as nested_arguments,
        ids.sendgrid_id,
        ids.smtp_id
    from bodies
    -- a function in FROM is evaluated once a row
    cross join lateral unnest(
        -- SendGrid's id, X-Message-Id of its API: the part of sg_message_id before the name of a server. Late bounces have none.
        array[
            coalesce(
                substring(body ->> 'sg_message_id' from '^(.+?)[.](?:filter|recvd)'),
                nullif(split_part(body ->> 'sg_message_id', '.', 1), '')
            )
        ],
        -- the Message-ID; of one that SendGrid made, the part that is SendGrid's id. Opens and clicks have none.
        array[
            coalesce(
                substring(body ->> 'smtp-id' from '^<?([^<>@]+)@[^<>@]*ismtpd'),
                '<' || nullif(trim(both '<> ' from body ->> 'smtp-id'), '') || '>'
            )
        ]
    ) as ids (sendgrid_id, smtp_id)
),

events as (
    select
        workspace_id,
        -- what the sender got: an id of its own, or its own Message-ID, or SendGrid's answer
        coalesce(
            nullif(body ->> 'anymail_id', ''), case when starts_with(smtp_id, '<') then smtp_id end, sendgrid_id, smtp_id
        ) as provider_message_id,
        coalesce(sendgrid_id, smtp_id) as message_key,
        nullif(smtp_id, sendgrid_id) as alias_key,
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
        coalesce(body ->> 'sequence_id', nested_arguments ->> 'sequence_id') as sequence_id,
        coalesce(body ->> 'step', nested_arguments ->> 'step') as step,
        coalesce(body ->> 'variant', nested_arguments ->> 'variant') as variant,
        coalesce(body -> 'category', body -> 'tags', nested_arguments -> 'tags') as tags,
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
{{ as_email_events('sendgrid', has_aliases=true) }}
