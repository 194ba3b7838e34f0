with {{ webhook_bodies('sparkpost') }}

-- a webhook's event, in a member that is named by its class, or one of a page of the events API
classified as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        coalesce(jsonb_path_query_first(body, '$.msys.*'), body) as element
    from bodies
),

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        element,
        element ->> 'type' as provider_event,
        element ->> 'bounce_class' as bounce_class,
        coalesce(element ->> 'raw_reason', element ->> 'reason') as diagnostic,
        coalesce({{ non_empty_json("element -> 'rcpt_meta'") }}, element -> 'metadata') as fields
    from classified
),

events as (
    select
        workspace_id,
        -- what the sending API returns: all recipients of a transmission share it
        coalesce(element ->> 'transmission_id', element ->> 'message_id') as provider_message_id,
        coalesce(element ->> 'transmission_id', element ->> 'message_id') as message_key,
        coalesce(element ->> 'raw_rcpt_to', element ->> 'rcpt_to') as recipient,
        provider_event,
        case
            when provider_event = 'injection' then 'queued'
            when provider_event = 'delivery' then 'delivered'
            when provider_event = 'delay' then 'deferred'
            when provider_event in ('policy_rejection', 'generation_rejection') then 'rejected'
            when provider_event = 'generation_failure' then 'failed'
            -- an answer that SparkPost takes for a bounce: of a person's software, or a request of the person
            when provider_event in ('bounce', 'out_of_band') and bounce_class in ('60', '100') then 'autoresponded'
            when provider_event in ('bounce', 'out_of_band') and bounce_class = '80' then 'subscribed'
            when provider_event in ('bounce', 'out_of_band') and bounce_class = '90' then 'unsubscribed'
            -- by SparkPost's own policy, such as a suppression list: nothing was sent
            when provider_event = 'bounce' and bounce_class = '25' then 'rejected'
            when provider_event in ('bounce', 'out_of_band') then 'bounced'
            when provider_event in ('open', 'initial_open', 'amp_open', 'amp_initial_open') then 'opened'
            when provider_event in ('click', 'amp_click') then 'clicked'
            -- the recipient took it out of the spam folder
            when provider_event = 'spam_complaint' and element ->> 'fbtype' = 'not-spam' then 'spam_complaint/not-spam'
            when provider_event = 'spam_complaint' then 'complained'
            when provider_event in ('list_unsubscribe', 'link_unsubscribe') then 'unsubscribed'
            else provider_event
        end as event_type,
        coalesce(nullif(fields ->> 'campaign_id', ''), element ->> 'campaign_id') as campaign_id,
        fields ->> 'mailbox_id' as mailbox_id,
        fields ->> 'domain_id' as domain_id,
        fields ->> 'sequence_id' as sequence_id,
        fields ->> 'step' as step,
        coalesce(nullif(fields ->> 'variant', ''), element ->> 'ab_test_version') as variant,
        coalesce({{ non_empty_json("element -> 'rcpt_tags'") }}, fields -> 'tags') as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        coalesce(
            {{ smtp_reply_code('diagnostic') }},
            case
                when provider_event in ('bounce', 'out_of_band', 'delay') then {{ try_cast("element ->> 'error_code'", 'int') }}
            end
        ) as smtp_code,
        case when provider_event in ('bounce', 'out_of_band') then 'sparkpost/' || bounce_class end as bounce_type,
        diagnostic,
        element ->> 'target_link_url' as url,
        element ->> 'user_agent' as user_agent,
        -- Apple's and other proxies load pictures before anybody opens the mail
        case
            when provider_event in ('open', 'initial_open', 'amp_open', 'amp_initial_open')
                then coalesce(
                    {{ try_cast("element #>> '{user_agent_parsed,is_prefetched}'", 'boolean') }},
                    {{ try_cast("element ->> 'is_prefetched'", 'boolean') }}
                )
        end as is_machine,
        coalesce(
            {{ epoch_to_timestamp("element ->> 'timestamp'") }}, {{ iso_to_timestamp("element ->> 'timestamp'") }}
        ) as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('sparkpost') }}
