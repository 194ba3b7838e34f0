with {{ webhook_bodies('brevo') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'event' as provider_event,
        -- Mail of a campaign has no message id: one mail to each recipient.
        coalesce(
            nullif(trim(both '<> ' from body ->> 'message-id'), ''), 'campaign ' || nullif(body ->> 'camp_id', '')
        ) as message_key,
        -- a JSON text, or name:value|name:value
        coalesce(
            {{ try_cast_json("nullif(body ->> 'X-Mailin-custom', '')") }},
            (
                select
                    jsonb_object_agg(
                        btrim(split_part(pairs.pair, ':', 1)), btrim(substr(pairs.pair, strpos(pairs.pair, ':') + 1))
                    )
                from regexp_split_to_table(left(body ->> 'X-Mailin-custom', 4000), '[|]') as pairs (pair)
                where pairs.pair like '%:%'
            )
        ) as fields,
        coalesce(body ->> 'ts_epoch', body ->> 's_epoch') as epoch
    from bodies
),

events as (
    select
        workspace_id,
        coalesce(nullif(body ->> 'message-id', ''), message_key) as provider_message_id,
        message_key,
        body ->> 'email' as recipient,
        provider_event,
        case
            when provider_event in ('request', 'sent') then 'queued'
            when provider_event = 'delivered' then 'delivered'
            when provider_event = 'deferred' then 'deferred'
            when provider_event in ('hard_bounce', 'soft_bounce', 'invalid_email') then 'bounced'
            -- the address is blocked at Brevo: nothing was sent
            when provider_event = 'blocked' then 'rejected'
            when provider_event = 'error' then 'failed'
            when
                provider_event in (
                    'opened', 'unique_opened', 'proxy_open', 'unique_proxy_open', 'loaded_by_proxy', 'unique_loaded_by_proxy'
                )
                then 'opened'
            when provider_event in ('click', 'clicked') then 'clicked'
            when provider_event in ('spam', 'complaint') then 'complained'
            when provider_event in ('unsubscribe', 'unsubscribed') then 'unsubscribed'
            when provider_event = 'reply' then 'replied'
            else provider_event
        end as event_type,
        coalesce(nullif(fields ->> 'campaign_id', ''), body ->> 'camp_id') as campaign_id,
        fields ->> 'mailbox_id' as mailbox_id,
        fields ->> 'domain_id' as domain_id,
        fields ->> 'sequence_id' as sequence_id,
        fields ->> 'step' as step,
        fields ->> 'variant' as variant,
        coalesce(
            {{ non_empty_json("body -> 'tags'") }},
            -- an array as a JSON text
            case when left(body ->> 'tag', 1) = '[' then {{ non_empty_json(try_cast_json("body ->> 'tag'")) }} end,
            case when body ->> 'tag' not in ('', '[]') then body -> 'tag' end,
            fields -> 'tags'
        ) as tags,
        {{ enhanced_status_code("body ->> 'reason'") }} as smtp_status,
        {{ smtp_reply_code("body ->> 'reason'") }} as smtp_code,
        case when provider_event in ('hard_bounce', 'soft_bounce', 'invalid_email') then provider_event end as bounce_type,
        body ->> 'reason' as diagnostic,
        -- a click of a campaign has URL
        coalesce(body ->> 'link', body ->> 'URL') as url,
        body ->> 'user_agent' as user_agent,
        case
            when provider_event in ('opened', 'unique_opened') then false
            when provider_event like '%proxy%' then true
        end as is_machine,
        coalesce(
            -- milliseconds; the examples of Brevo's documentation have seconds, too. The other members are in seconds.
            case
                when length(epoch) >= 12 then {{ epoch_to_timestamp("left(epoch, -3) || '.' || right(epoch, 3)") }}
                else {{ epoch_to_timestamp('epoch') }}
            end,
            {{ epoch_to_timestamp("body ->> 'ts_event'") }},
            {{ epoch_to_timestamp("body ->> 'ts'") }}
        ) as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('brevo') }}
