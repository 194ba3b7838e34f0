with {{ webhook_bodies('mailgun') }}

-- a webhook's body, an event of a page of the Events API or the Logs API, or the fields of a form (webhooks before 2018)
parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        element,
        element ->> 'event' as provider_event,
        -- in angle brackets, as the sending API returns it
        '<' || nullif(
            trim(both '<> ' from coalesce(
                element #>> '{message,headers,message-id}', element ->> 'Message-Id', element ->> 'message-id'
            )),
            ''
        ) || '>' as message_key,
        element #>> '{message,headers,to}' as addressed_to,
        coalesce(
            nullif(element #>> '{delivery-status,message}', ''),
            nullif(element #>> '{delivery-status,description}', ''),
            element #>> '{reject,reason}',
            nullif(element ->> 'error', ''),
            nullif(element ->> 'notification', ''),
            element ->> 'description'
        ) as diagnostic,
        case
            -- a JSON text in the Logs API
            when jsonb_typeof(element -> 'user-variables') = 'string' then {{ try_cast_json("element ->> 'user-variables'") }}
            else coalesce(element -> 'user-variables', element)
        end as variables
    from bodies
    cross join lateral unnest(array[coalesce(body -> 'event-data', body)]) as elements (element)
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
            -- of a form: 605 to 607 say that the address is on Mailgun's own suppression list
            when provider_event = 'dropped' and element ->> 'code' in ('605', '606', '607') then 'rejected'
            when provider_event = 'dropped' then 'bounced'
            when provider_event in ('opened', 'unique_opened') then 'opened'
            when provider_event in ('clicked', 'unique_clicked') then 'clicked'
            when provider_event = 'complained' then 'complained'
            when provider_event = 'unsubscribed' then 'unsubscribed'
            else provider_event
        end as event_type,
        variables ->> 'campaign_id' as campaign_id,
        variables ->> 'mailbox_id' as mailbox_id,
        variables ->> 'domain_id' as domain_id,
        variables ->> 'sequence_id' as sequence_id,
        variables ->> 'step' as step,
        variables ->> 'variant' as variant,
        coalesce(
            {{ non_empty_json("element -> 'tags'") }}, {{ non_empty_json("element -> 'tag'") }}, variables -> 'tags'
        ) as tags,
        coalesce(
            {{ enhanced_status_code("element #>> '{delivery-status,enhanced-code}'") }}, {{ enhanced_status_code('diagnostic') }}
        ) as smtp_status,
        coalesce(
            {{ try_cast("coalesce(element #>> '{delivery-status,code}', element ->> 'code')", 'int') }},
            {{ smtp_reply_code('diagnostic') }}
        ) as smtp_code,
        case
            when provider_event in ('failed', 'dropped')
                then concat_ws('/', element ->> 'severity', element ->> 'reason', element #>> '{delivery-status,bounce-type}')
        end as bounce_type,
        diagnostic,
        element ->> 'url' as url,
        coalesce(element #>> '{client-info,user-agent}', element ->> 'user-agent') as user_agent,
        -- the name of the bot; empty for a person
        element #>> '{client-info,bot}' not in ('', 'false') as is_machine,
        coalesce(
            {{ epoch_to_timestamp("element ->> 'timestamp'") }}, {{ iso_to_timestamp("element ->> '@timestamp'") }}
        ) as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('mailgun') }}
