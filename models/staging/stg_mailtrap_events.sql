with {{ webhook_bodies('mailtrap') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'event' as provider_event,
        coalesce(nullif(body ->> 'response', ''), body ->> 'reason') as diagnostic,
        body -> 'custom_variables' as variables,
        body ->> 'bounce_category' as bounce_category
    from bodies
),

with_reason as (
    select
        *,
        case
            when bounce_category = 'overquota' then 'mailbox_full'
            when bounce_category = 'timeout' then 'timed_out'
            when bounce_category in ('content', 'spam') then 'content_rejected'
            when bounce_category in ('badsender', 'block', 'relayfail', 'serverpolicy', 'spam_gmail', 'verifyfail') then 'blocked'
            when bounce_category in ('dnsFail', 'greylisting', 'serverfail', 'transientfail', 'unavailable')
                then 'server_unavailable'
            when bounce_category = 'badrecipient' then 'invalid_recipient'
        end as bounce_reason
    from parsed
),

events as (
    select
        workspace_id,
        body ->> 'message_id' as provider_message_id,
        body ->> 'message_id' as message_key,
        body ->> 'email' as recipient,
        provider_event,
        case provider_event
            when 'delivery' then 'delivered'
            -- tried again, ten times
            when 'soft bounce' then 'deferred'
            -- the sending domain is not verified yet; it is looked at again, ten times
            when 'suspension' then 'deferred'
            when 'bounce' then 'bounced'
            when 'reject' then 'rejected'
            when 'open' then 'opened'
            when 'click' then 'clicked'
            when 'unsubscribe' then 'unsubscribed'
            when 'spam' then 'complained'
            else provider_event
        end as event_type,
        variables ->> 'campaign_id' as campaign_id,
        variables ->> 'mailbox_id' as mailbox_id,
        variables ->> 'domain_id' as domain_id,
        variables ->> 'sequence_id' as sequence_id,
        variables ->> 'step' as step,
        variables ->> 'variant' as variant,
        jsonb_build_array(body -> 'category', variables -> 'tags') as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        coalesce({{ try_cast("body ->> 'response_code'", 'int') }}, {{ smtp_reply_code('diagnostic') }}) as smtp_code,
        case
            when provider_event = 'bounce'
                -- generalfail, other, and a category that Mailtrap may add later say nothing: text and code decide
                then coalesce('bounce/' || bounce_reason, 'mailtrap') || '/' || bounce_category
        end as bounce_type,
        diagnostic,
        body ->> 'url' as url,
        body ->> 'user_agent' as user_agent,
        null::boolean as is_machine,
        {{ epoch_to_timestamp("body ->> 'timestamp'") }} as occurred_at,
        loaded_at,
        loaded_xid
    from with_reason
),
{{ as_email_events('mailtrap') }}
