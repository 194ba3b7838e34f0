with {{ webhook_bodies('resend') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body ->> 'type' as provider_event,
        body ->> 'created_at' as happened_at,
        body -> 'data' as mail,
        -- an object, or an array of names and values
        case
            when jsonb_typeof(body #> '{data,tags}') = 'array' then app.fields_of_tags(body #> '{data,tags}')
            else body #> '{data,tags}'
        end as tags,
        -- Each recipient of a mail has events, which name all recipients and not their own. So the mail is one message, and the
        -- first recipient's.
        jsonb_path_query_first(body, '$.data.to[0]') #>> '{}' as recipient,
        coalesce(
            -- the receiving server's reply, if Resend has one
            jsonb_path_query_first(body, '$.data.bounce.diagnosticCode[0]') #>> '{}',
            body #>> '{data,bounce,message}',
            body #>> '{data,suppressed,message}',
            body #>> '{data,failed,reason}'
        ) as diagnostic
    from bodies
),

events as (
    select
        workspace_id,
        mail ->> 'email_id' as provider_message_id,
        mail ->> 'email_id' as message_key,
        recipient,
        provider_event,
        case
            when provider_event = 'email.sent' then 'sent'
            when provider_event = 'email.delivered' then 'delivered'
            when provider_event = 'email.delivery_delayed' then 'deferred'
            -- the address is on a suppression list: nothing was sent
            when provider_event = 'email.bounced' and mail #>> '{bounce,subType}' like '%Suppress%' then 'rejected'
            when provider_event = 'email.suppressed' then 'rejected'
            when provider_event = 'email.bounced' then 'bounced'
            when provider_event = 'email.failed' then 'failed'
            when provider_event = 'email.opened' then 'opened'
            when provider_event = 'email.clicked' then 'clicked'
            when provider_event = 'email.complained' then 'complained'
            else provider_event
        end as event_type,
        coalesce(nullif(tags ->> 'campaign_id', ''), mail ->> 'broadcast_id') as campaign_id,
        tags ->> 'mailbox_id' as mailbox_id,
        tags ->> 'domain_id' as domain_id,
        tags ->> 'sequence_id' as sequence_id,
        tags ->> 'step' as step,
        tags ->> 'variant' as variant,
        tags -> 'tags' as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case
            when provider_event <> 'email.bounced' then null
            when mail #> '{bounce,type}' is not null then concat_ws('/', mail #>> '{bounce,type}', mail #>> '{bounce,subType}')
            -- webhooks before 2025 have a sentence only
            when diagnostic like '% sent a hard bounce message%' then 'Permanent'
            when diagnostic like '% inbox was full%' then 'Transient/MailboxFull'
        end as bounce_type,
        diagnostic,
        mail #>> '{click,link}' as url,
        coalesce(mail #>> '{click,userAgent}', mail #>> '{open,userAgent}') as user_agent,
        null::boolean as is_machine,
        {{ iso_to_timestamp('happened_at') }} as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('resend') }}
