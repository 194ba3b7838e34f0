with {{ webhook_bodies('mandrill') }}

-- the elements of the form's field mandrill_events
parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body -> 'msg' as message,
        body ->> 'event' as provider_event,
        -- older events have it in the message only
        coalesce(body ->> '_id', body #>> '{msg,_id}') as message_key,
        coalesce(
            nullif(body #>> '{msg,diag}', ''),
            -- the answer to the last attempt; that of a late bounce was a good one
            case when body ->> 'event' in ('deferral', 'delivered') then body #>> '{msg,smtp_events,-1,diag}' end,
            body #>> '{msg,reject,reason}'
        ) as diagnostic,
        body #>> '{msg,bgtools_code}' as bounce_code,
        body #>> '{msg,bounce_description}' as bounce_description
    from bodies
),

events as (
    select
        workspace_id,
        message_key as provider_message_id,
        message_key,
        message ->> 'email' as recipient,
        provider_event,
        case
            when provider_event = 'send' then 'sent'
            when provider_event = 'deferral' then 'deferred'
            when provider_event = 'delivered' then 'delivered'
            -- an automatic reply, or a challenge: no server has refused anything
            when provider_event in ('hard_bounce', 'soft_bounce') and bounce_code in ('60', '100') then 'autoresponded'
            when provider_event in ('hard_bounce', 'soft_bounce') then 'bounced'
            when provider_event = 'reject' then 'rejected'
            when provider_event = 'open' then 'opened'
            when provider_event = 'click' then 'clicked'
            when provider_event = 'spam' then 'complained'
            when provider_event = 'unsub' then 'unsubscribed'
            else provider_event
        end as event_type,
        message #>> '{metadata,campaign_id}' as campaign_id,
        message #>> '{metadata,mailbox_id}' as mailbox_id,
        message #>> '{metadata,domain_id}' as domain_id,
        message #>> '{metadata,sequence_id}' as sequence_id,
        message #>> '{metadata,step}' as step,
        message #>> '{metadata,variant}' as variant,
        message -> 'tags' as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case
            when provider_event in ('hard_bounce', 'soft_bounce')
                then concat_ws(
                    '/',
                    provider_event,
                    -- codes of the bounce classifier that Mandrill uses (bgtools)
                    case
                        when bounce_code = '22' or bounce_description = 'mailbox_full' then 'mailbox_full'
                        when provider_event = 'hard_bounce' and bounce_description = 'invalid_domain' then 'invalid_domain'
                        when bounce_code = '21' or bounce_description = 'invalid_domain' then 'server_unavailable'
                        when bounce_code = '23' then 'message_too_large'
                        when bounce_code = '70' then 'server_unavailable'
                        when bounce_code in ('50', '51', '54') then 'blocked'
                        when bounce_code in ('52', '53') then 'content_rejected'
                        when provider_event = 'hard_bounce' then 'invalid_recipient'
                    end,
                    bounce_description,
                    bounce_code
                )
        end as bounce_type,
        diagnostic,
        body ->> 'url' as url,
        body ->> 'user_agent' as user_agent,
        -- Mandrill recognizes robots by their user agent. For all others nothing is known.
        case when lower(body #>> '{user_agent_parsed,type}') in ('robot', 'validator', 'library', 'offline browser') then true end
            as is_machine,
        {{ epoch_to_timestamp("body ->> 'ts'") }} as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('mandrill') }}
