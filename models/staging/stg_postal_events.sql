with {{ webhook_bodies('postal') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'event' as provider_event,
        body -> 'payload' as payload,
        coalesce(body #> '{payload,message}', body #> '{payload,original_message}') as message,
        -- the receiving server's answer, and Postal's own words
        case when not {{ is_blank("body #>> '{payload,output}'") }} then body #>> '{payload,output}' end as output,
        body #>> '{payload,details}' as details
    from bodies
),

with_fields as (
    select
        *,
        coalesce(output, details) as diagnostic,
        app.fields_of_tags(message -> 'tag') as fields
    from parsed
),

events as (
    select
        workspace_id,
        -- what the API returns for each recipient; the token makes it unique among an operator's servers
        message ->> 'id' as provider_message_id,
        (message ->> 'id') || coalesce(':' || (message ->> 'token'), '') as message_key,
        message ->> 'to' as recipient,
        provider_event,
        case
            when provider_event = 'MessageSent' then 'delivered'
            when provider_event = 'MessageLoaded' then 'opened'
            when provider_event = 'MessageLinkClicked' then 'clicked'
            when provider_event = 'MessageBounced' or payload ? 'bounce' then 'bounced'
            when provider_event = 'MessageDelayed' then 'deferred'
            -- not sent, unless somebody releases it
            when provider_event = 'MessageHeld' then 'rejected'
            when provider_event = 'MessageDeliveryFailed' and details like 'Message is likely spam%' then 'rejected'
            -- a server refused it, or none was reached in all attempts
            when
                provider_event = 'MessageDeliveryFailed'
                and (
                    details like 'Permanent SMTP delivery error%'
                    or details like 'Maximum number of delivery attempts%'
                    -- what an erasure leaves of the text of a bounce
                    or diagnostic like '%[erased: %'
                    or coalesce({{ enhanced_status_code('output') }}, ({{ smtp_reply_code('output') }})::text) is not null
                )
                then 'bounced'
            -- before any attempt: no recipient, a domain that was deleted
            when provider_event = 'MessageDeliveryFailed' then 'failed'
            else provider_event
        end as event_type,
        fields ->> 'campaign_id' as campaign_id,
        fields ->> 'mailbox_id' as mailbox_id,
        fields ->> 'domain_id' as domain_id,
        fields ->> 'sequence_id' as sequence_id,
        fields ->> 'step' as step,
        fields ->> 'variant' as variant,
        message -> 'tag' as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case
            when details like 'Maximum number of delivery attempts%' then 'bounce/timed_out/attempts'
            when provider_event in ('MessageBounced', 'MessageDeliveryFailed') then provider_event
        end as bounce_type,
        diagnostic,
        payload ->> 'url' as url,
        payload ->> 'user_agent' as user_agent,
        null::boolean as is_machine,
        coalesce(
            {{ epoch_to_timestamp("body ->> 'timestamp'") }}, {{ epoch_to_timestamp("payload ->> 'timestamp'") }}
        ) as occurred_at,
        loaded_at,
        loaded_xid
    from with_fields
),
{{ as_email_events('postal') }}
