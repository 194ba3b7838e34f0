with {{ webhook_bodies('mailjet') }}

-- the sender's fields are a JSON text: the header X-MJ-EventPayload, or X-MJ-CustomID
parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'event' as provider_event,
        body ->> 'hard_bounce' in ('true', '1') as is_permanent,
        nullif(coalesce(nullif(body ->> 'MessageID', ''), body ->> 'mj_message_id'), '0') as message_key,
        coalesce(
            nullif(body ->> 'smtp_reply', ''), nullif(body ->> 'comment', ''), nullif(body ->> 'error', '')
        ) as diagnostic,
        coalesce(
            {{ non_empty_json(try_cast_json("nullif(body ->> 'Payload', '')")) }},
            {{ try_cast_json("nullif(body ->> 'CustomID', '')") }}
        ) as fields
    from bodies
),

events as (
    select
        workspace_id,
        message_key as provider_message_id,
        message_key,
        body ->> 'email' as recipient,
        provider_event,
        case
            -- the receiving server has accepted it
            when provider_event = 'sent' then 'delivered'
            -- tried again
            when provider_event = 'bounce' and body ->> 'error' = 'greylisted' and is_permanent is not true then 'deferred'
            -- a broken template: no mail was made
            when provider_event = 'bounce' and body ->> 'error_related_to' = 'content' then 'failed'
            -- on a list of Mailjet or of the account: nothing was sent
            when
                provider_event = 'bounce'
                and (body ->> 'error_related_to' = 'mailjet' or body ->> 'error' in ('blacklisted', 'spam reporter'))
                then 'rejected'
            when provider_event = 'bounce' then 'bounced'
            when provider_event = 'blocked' then 'rejected'
            when provider_event = 'open' then 'opened'
            when provider_event = 'click' then 'clicked'
            when provider_event = 'spam' then 'complained'
            when provider_event = 'unsub' then 'unsubscribed'
            else provider_event
        end as event_type,
        coalesce(nullif(fields ->> 'campaign_id', ''), nullif(body ->> 'customcampaign', '')) as campaign_id,
        fields ->> 'mailbox_id' as mailbox_id,
        fields ->> 'domain_id' as domain_id,
        fields ->> 'sequence_id' as sequence_id,
        fields ->> 'step' as step,
        fields ->> 'variant' as variant,
        fields -> 'tags' as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        coalesce(
            {{ smtp_reply_code('diagnostic') }},
            -- sent (250 2.0.0 OK)
            {{ smtp_reply_code("substring(left(diagnostic, 4000) from '^[a-z ]*[(](.*)')") }}
        ) as smtp_code,
        case
            when provider_event = 'bounce'
                then concat_ws('/', case when is_permanent then 'hard' else 'soft' end, body ->> 'error_related_to')
        end as bounce_type,
        diagnostic,
        body ->> 'url' as url,
        body ->> 'agent' as user_agent,
        null::boolean as is_machine,
        {{ epoch_to_timestamp("body ->> 'time'") }} as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('mailjet') }}
