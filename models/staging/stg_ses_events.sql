with {{ webhook_bodies('ses') }}

parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        envelope_time,
        coalesce(body ->> 'eventType', body ->> 'notificationType') as provider_event,
        body -> 'mail' as mail,
        case coalesce(body ->> 'eventType', body ->> 'notificationType')
            when 'Rendering Failure' then body -> 'failure'
            when 'DeliveryDelay' then body -> 'deliveryDelay'
            else body -> lower(coalesce(body ->> 'eventType', body ->> 'notificationType'))
        end as detail
    from bodies
),

-- Opens, clicks and subscriptions name no recipient, and a bounce can name none. If the mail has several, the event counts for no
-- message, rather than for the wrong one.
with_recipients as (
    select
        *,
        case
            when
                provider_event = 'Bounce' and jsonb_path_exists(detail, '$.bouncedRecipients[*].emailAddress')
                then detail -> 'bouncedRecipients'
            when provider_event = 'Complaint' then detail -> 'complainedRecipients'
            when provider_event = 'Delivery' then coalesce(detail -> 'recipients', mail -> 'destination')
            when provider_event = 'DeliveryDelay' then detail -> 'delayedRecipients'
            when provider_event in ('Send', 'Reject', 'Rendering Failure') then mail -> 'destination'
            when jsonb_array_length(jsonb_path_query_array(mail, '$.destination[*]')) = 1 then mail -> 'destination'
            -- one recipient in several spellings
            when
                (
                    select count(distinct app.bare_address(left(destinations.address, 4000)))
                    from jsonb_array_elements_text(
                        case
                            when jsonb_array_length(jsonb_path_query_array(mail, '$.destination[*]')) between 2 and 50
                                then mail -> 'destination'
                        end
                    ) as destinations (address)
                ) = 1
                then mail -> 'destination' -> 0
        end as recipients
    from parsed
),

recipients as (
    select
        with_recipients.*,
        recipient,
        case when jsonb_typeof(recipient) = 'object' then recipient ->> 'emailAddress' else recipient #>> '{}' end as address,
        coalesce(
            case when jsonb_typeof(recipient) = 'object' then recipient ->> 'diagnosticCode' end,
            detail ->> 'smtpResponse',
            detail ->> 'errorMessage',
            detail ->> 'reason'
        ) as diagnostic,
        case when jsonb_typeof(recipient) = 'object' then recipient ->> 'status' end as recipient_status,
        -- the new preferences opt out of something that the old ones did not
        provider_event = 'Subscription'
        and (
            coalesce(
                detail #> '{newTopicPreferences,unsubscribeAll}' = 'true'
                and detail #> '{oldTopicPreferences,unsubscribeAll}' is distinct from 'true',
                false
            )
            or exists (
                select
                from
                    jsonb_path_query(
                        detail,
                        '$.newTopicPreferences.topicSubscriptionStatus[0 to 999] ? (@.subscriptionStatus == "OptOut").topicName'
                    ) as topic
                where
                    not jsonb_path_exists(
                        detail,
                        '$.oldTopicPreferences.topicSubscriptionStatus[0 to 999]'
                        ' ? (@.topicName == $topic && @.subscriptionStatus == "OptOut")',
                        jsonb_build_object('topic', topic)
                    )
            )
        ) as opts_out
    from with_recipients
    left join lateral jsonb_array_elements(
        case jsonb_typeof(with_recipients.recipients)
            -- an e-mail of SES has at most 50 recipients
            when 'array' then case when jsonb_array_length(with_recipients.recipients) <= 1000 then with_recipients.recipients end
            else jsonb_build_array(with_recipients.recipients)
        end
    ) as recipient on true
),

events as (
    select
        workspace_id,
        mail ->> 'messageId' as provider_message_id,
        mail ->> 'messageId' as message_key,
        address as recipient,
        provider_event,
        case
            when provider_event = 'Send' then 'sent'
            when provider_event = 'Delivery' then 'delivered'
            when provider_event = 'DeliveryDelay' then 'deferred'
            -- nobody is named, and the mail had several recipients
            when provider_event = 'Bounce' and address is null then 'Bounce/no-recipient'
            -- the address is on a suppression list: nothing was sent
            when
                provider_event = 'Bounce'
                and (detail ->> 'bounceSubType' like '%Suppress%' or detail ->> 'bounceSubType' = 'UnsubscribedRecipient')
                then 'rejected'
            -- an automatic reply, which SES takes for a bounce: no server has refused anything
            when
                provider_event = 'Bounce'
                and (
                    detail ->> 'bounceType' = 'Undetermined'
                    or (detail ->> 'bounceType' = 'Transient' and detail ->> 'bounceSubType' = 'General')
                )
                and coalesce(recipient_status, diagnostic) is null
                then 'autoresponded'
            when provider_event = 'Bounce' then 'bounced'
            when provider_event = 'Reject' then 'rejected'
            when provider_event = 'Rendering Failure' then 'failed'
            when provider_event = 'Open' then 'opened'
            when provider_event = 'Click' then 'clicked'
            -- as for a bounce: somebody has complained before, and nothing was sent
            when provider_event = 'Complaint' and detail ->> 'complaintSubType' = 'OnAccountSuppressionList' then 'rejected'
            -- the recipient took it out of the spam folder
            when provider_event = 'Complaint' and detail ->> 'complaintFeedbackType' = 'not-spam' then 'Complaint/not-spam'
            when provider_event = 'Complaint' then 'complained'
            when provider_event = 'Subscription' and opts_out then 'unsubscribed'
            when provider_event = 'Subscription' then 'subscribed'
            else provider_event
        end as event_type,
        mail #>> '{tags,campaign_id,0}' as campaign_id,
        mail #>> '{tags,mailbox_id,0}' as mailbox_id,
        mail #>> '{tags,domain_id,0}' as domain_id,
        mail #>> '{tags,sequence_id,0}' as sequence_id,
        mail #>> '{tags,step,0}' as step,
        mail #>> '{tags,variant,0}' as variant,
        mail #> '{tags,tags}' as tags,
        coalesce(
            {{ enhanced_status_code('recipient_status') }},
            {{ enhanced_status_code('diagnostic') }}
        ) as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case
            when provider_event = 'Bounce' then concat_ws('/', detail ->> 'bounceType', detail ->> 'bounceSubType')
            when provider_event = 'DeliveryDelay' then detail ->> 'delayType'
        end as bounce_type,
        diagnostic,
        detail ->> 'link' as url,
        detail ->> 'userAgent' as user_agent,
        null::boolean as is_machine,
        coalesce(
            {{ iso_to_timestamp("detail ->> 'timestamp'") }},
            case
                when provider_event in ('Send', 'Reject', 'Rendering Failure')
                    then {{ iso_to_timestamp("mail ->> 'timestamp'") }}
            end,
            {{ iso_to_timestamp('envelope_time') }}
        ) as occurred_at,
        loaded_at,
        loaded_xid
    from recipients
),
{{ as_email_events('ses') }}
