with {{ webhook_bodies('sendgrid') }}

identified as (
    select
        *,
        coalesce(
            body ->> 'sg_message_id', body #>> '{sg_message,sg_message_id}', body #>> '{sg_message,msg_id}'
        ) as sg_message_id
    from bodies
),

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        -- the Email Activity API has other names than the webhooks
        coalesce(
            body ->> 'event',
            case body ->> 'event_name'
                when 'bounced' then 'bounce'
                when 'opened' then 'open'
                when 'clicked' then 'click'
                when 'spam_report' then 'spamreport'
                else body ->> 'event_name'
            end
        ) as provider_event,
        coalesce(body ->> 'reason', body ->> 'response') as diagnostic,
        coalesce(
            {{ non_empty_json("body -> 'unique_args'") }},
            {{ non_empty_json("body -> 'custom_args'") }},
            {{ non_empty_json("body #> '{sg_message,custom_args}'") }},
            {{ try_cast_json("body #>> '{sg_message,unique_args}'") }},
            '{}'
        ) as nested_arguments,
        ids.sendgrid_id,
        ids.smtp_id
    from identified
    -- a function in FROM is evaluated once a row
    cross join lateral unnest(
        -- SendGrid's id, X-Message-Id of its API: the part of sg_message_id before the name of a server. Late bounces have none.
        array[
            coalesce(
                substring(sg_message_id from '^(.+?)[.](?:filter|recvd)'),
                nullif(split_part(sg_message_id, '.', 1), '')
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
        coalesce(body ->> 'email', body #>> '{sg_message,to_email}') as recipient,
        provider_event,
        case provider_event
            when 'processed' then 'queued'
            when 'deferred' then 'deferred'
            when 'delivered' then 'delivered'
            when 'bounce' then 'bounced'
            when 'blocked' then 'bounced'
            when 'dropped' then 'rejected'
            when 'cancel_drop' then 'rejected'
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
        coalesce(
            {{ non_empty_json("body -> 'category'") }},
            {{ non_empty_json("body -> 'tags'") }},
            {{ non_empty_json("nested_arguments -> 'tags'") }},
            {{ non_empty_json("body #> '{sg_message,category}'") }},
            body #> '{sg_message,categories}'
        ) as tags,
        coalesce(
            {{ enhanced_status_code("body ->> 'status'") }}, {{ enhanced_status_code('diagnostic') }}
        ) as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case
            when provider_event in ('bounce', 'blocked')
                then concat_ws(
                    '/',
                    coalesce(
                        body ->> 'type',
                        case body ->> 'bounce_type' when 'soft' then 'blocked' when 'hard' then 'bounce' end,
                        provider_event
                    ),
                    body ->> 'bounce_classification'
                )
        end as bounce_type,
        diagnostic,
        nullif(body ->> 'url', '') as url,
        coalesce(body ->> 'useragent', body ->> 'http_user_agent') as user_agent,
        {{ try_cast("body ->> 'sg_machine_open'", 'boolean') }} as is_machine,
        coalesce(
            {{ epoch_to_timestamp("body ->> 'timestamp'") }}, {{ iso_to_timestamp("body ->> 'processed'") }}
        ) as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('sendgrid', has_aliases=true) }}
