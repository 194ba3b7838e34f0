with {{ webhook_bodies('mailgun') }}

-- a body is a webhook's, a page of the events API, or one event of a page
elements as (
    select
        bodies.workspace_id,
        bodies.loaded_at,
        bodies.loaded_xid,
        coalesce(element -> 'event-data', element) as element
    from bodies
    cross join
        lateral jsonb_array_elements(
            case
                when jsonb_typeof(bodies.body -> 'items') = 'array' then bodies.body -> 'items'
                else jsonb_build_array(bodies.body)
            end
        ) as element
    where jsonb_typeof(coalesce(element -> 'event-data', element)) = 'object'
),

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        element,
        element ->> 'event' as provider_event,
        -- in angle brackets, as the sending API returns it
        '<' || nullif(trim(both '<> ' from element #>> '{message,headers,message-id}'), '') || '>' as message_key,
        element #>> '{message,headers,to}' as addressed_to,
        coalesce(
            nullif(element #>> '{delivery-status,message}', ''),
            nullif(element #>> '{delivery-status,description}', ''),
            element #>> '{reject,reason}'
        ) as diagnostic
    from elements
),

events as (
    select
        workspace_id,
        message_key as provider_message_id,
        message_key,
        coalesce(
            nullif(element ->> 'recipient', ''),
            -- rejected events have no recipient, so it is read from the header, if that has one address
            case when addressed_to not like '%@%@%' then addressed_to end
        ) as recipient,
        concat_ws('/', provider_event, element ->> 'severity') as provider_event,
        case
            -- test mode sends nothing, and a routed message is one that was received: no mail that was sent
            when element #> '{flags,is-test-mode}' = 'true' then 'test/' || provider_event
            when element #> '{flags,is-routed}' = 'true' then 'routed/' || provider_event
            when provider_event = 'accepted' then 'queued'
            when provider_event = 'delivered' then 'delivered'
            when provider_event = 'rejected' then 'rejected'
            when provider_event = 'failed' and element ->> 'severity' = 'temporary' then 'deferred'
            -- the address is on Mailgun's own suppression list: nothing was sent
            when provider_event = 'failed' and element ->> 'reason' like 'suppress-%' then 'rejected'
            when provider_event = 'failed' then 'bounced'
            when provider_event = 'opened' then 'opened'
            when provider_event = 'clicked' then 'clicked'
            when provider_event = 'complained' then 'complained'
            when provider_event = 'unsubscribed' then 'unsubscribed'
            else provider_event
        end as event_type,
        element #>> '{user-variables,campaign_id}' as campaign_id,
        element #>> '{user-variables,mailbox_id}' as mailbox_id,
        element #>> '{user-variables,domain_id}' as domain_id,
        coalesce(
            {{ enhanced_status_code("element #>> '{delivery-status,enhanced-code}'") }}, {{ enhanced_status_code('diagnostic') }}
        ) as smtp_status,
        coalesce(
            {{ try_cast("element #>> '{delivery-status,code}'", 'int') }}, {{ smtp_reply_code('diagnostic') }}
        ) as smtp_code,
        case
            when provider_event = 'failed'
                then concat_ws('/', element ->> 'severity', element ->> 'reason', element #>> '{delivery-status,bounce-type}')
        end as bounce_type,
        diagnostic,
        element ->> 'url' as url,
        element #>> '{client-info,user-agent}' as user_agent,
        -- the name of the bot; empty for a person
        element #>> '{client-info,bot}' not in ('', 'false') as is_machine,
        {{ epoch_to_timestamp("element ->> 'timestamp'") }} as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('mailgun') }}
