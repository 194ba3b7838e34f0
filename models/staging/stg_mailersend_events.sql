with {{ webhook_bodies('mailersend') }}

-- Webhooks of version 1 have an object `email` with the recipient in it. Those of version 2 have the address there.
parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body ->> 'created_at' as posted_at,
        body -> 'data' as activity,
        case
            when jsonb_typeof(body #> '{data,email}') = 'object' then body #> '{data,email}'
            else jsonb_build_object(
                'message', jsonb_build_object('id', body #> '{data,message_id}'),
                'recipient', jsonb_build_object('email', coalesce(body #> '{data,email}', body #> '{data,recipient}')),
                'tags', body #> '{data,tags}'
            )
        end as email,
        coalesce(nullif(body #> '{data,morph}', 'null'), body #> '{data,meta}') as detail,
        -- the first open and the first click have an event of both kinds
        regexp_replace(body ->> 'type', '^activity[.]|_unique$', '', 'g') as provider_event
    from bodies
),

with_fields as (
    select
        *,
        -- The words of the server come first: an erasure leaves codes and reason in the text that a bounce is classified by.
        -- Why a person unsubscribed is a code in `reason`.
        case
            when provider_event in ('deferred', 'soft_bounced', 'hard_bounced')
                then coalesce(
                    nullif(detail ->> 'reason', ''),
                    nullif(detail ->> 'bounce_reason', ''),
                    nullif(detail ->> 'readable_reason', ''),
                    detail ->> 'message'
                )
            else coalesce(
                nullif(detail ->> 'readable_reason', ''),
                nullif(detail ->> 'reason', ''),
                nullif(detail ->> 'unsubscribe_reason', ''),
                detail ->> 'message'
            )
        end as diagnostic,
        app.fields_of_tags(email -> 'tags') as fields
    from parsed
),

events as (
    select
        workspace_id,
        -- one message can have several recipients
        email #>> '{message,id}' as provider_message_id,
        email #>> '{message,id}' as message_key,
        email #>> '{recipient,email}' as recipient,
        provider_event,
        case provider_event
            when 'sent' then 'sent'
            when 'delivered' then 'delivered'
            when 'deferred' then 'deferred'
            when 'soft_bounced' then 'bounced'
            when 'hard_bounced' then 'bounced'
            when 'suppressed' then 'rejected'
            when 'opened' then 'opened'
            when 'clicked' then 'clicked'
            when 'unsubscribed' then 'unsubscribed'
            when 'spam_complaint' then 'complained'
            -- who sees or answers the survey in a mail has opened it
            when 'survey_opened' then 'opened'
            when 'survey_submitted' then 'opened'
            else provider_event
        end as event_type,
        fields ->> 'campaign_id' as campaign_id,
        fields ->> 'mailbox_id' as mailbox_id,
        fields ->> 'domain_id' as domain_id,
        fields ->> 'sequence_id' as sequence_id,
        fields ->> 'step' as step,
        fields ->> 'variant' as variant,
        email -> 'tags' as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        coalesce(
            {{ smtp_reply_code('diagnostic') }},
            -- version 2 gives 550 for soft bounces, too, and by that code alone a bounce would be hard
            case when provider_event <> 'soft_bounced' then {{ smtp_reply_code("detail ->> 'bounce_code'") }} end
        ) as smtp_code,
        case when provider_event in ('soft_bounced', 'hard_bounced') then provider_event end as bounce_type,
        diagnostic,
        detail ->> 'url' as url,
        detail ->> 'user_agent' as user_agent,
        null::boolean as is_machine,
        coalesce({{ iso_to_timestamp("activity ->> 'created_at'") }}, {{ iso_to_timestamp('posted_at') }}) as occurred_at,
        loaded_at,
        loaded_xid
    from with_fields
),
{{ as_email_events('mailersend') }}
