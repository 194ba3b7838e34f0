with {{ webhook_bodies('postmark') }}

-- the kind of a bounce, complaint or suppression is in a second field
parsed as (
    select
        workspace_id,
        loaded_at,
        loaded_xid,
        body,
        body ->> 'RecordType' as record_type,
        case body ->> 'RecordType'
            when 'Bounce' then coalesce(body ->> 'Type', 'Bounce')
            when 'SubscriptionChange'
                then case
                    when body -> 'SuppressSending' = 'false' then 'Subscribe'
                    -- the sender's own doing says nothing of the recipient
                    when
                        body ->> 'Origin' in ('Customer', 'Admin')
                        and coalesce(body ->> 'SuppressionReason', 'ManualSuppression') = 'ManualSuppression'
                        then 'SuppressedBySender'
                    else coalesce(body ->> 'SuppressionReason', 'ManualSuppression')
                end
            else body ->> 'RecordType'
        end as kind,
        body ->> 'Details' as diagnostic,
        body ->> 'Date' as mail_date,
        coalesce(body ->> 'DeliveredAt', body ->> 'BouncedAt', body ->> 'ReceivedAt', body ->> 'ChangedAt') as happened_at
    from bodies
),

events as (
    select
        workspace_id,
        body ->> 'MessageID' as provider_message_id,
        body ->> 'MessageID' as message_key,
        coalesce(body ->> 'Email', body ->> 'Recipient') as recipient,
        concat_ws('/', record_type, nullif(kind, record_type)) as provider_event,
        case
            when kind = 'Delivery' then 'delivered'
            when kind = 'Open' then 'opened'
            when kind = 'Click' then 'clicked'
            when kind in ('SpamComplaint', 'SpamNotification') then 'complained'
            when kind in ('Transient', 'DnsError') then 'deferred'
            when kind in ('Unsubscribe', 'ManualSuppression') then 'unsubscribed'
            when kind = 'Subscribe' then 'subscribed'
            when kind in ('AutoResponder', 'AddressChange', 'ChallengeVerification') then 'autoresponded'
            when kind in ('BadEmailAddress', 'ManuallyDeactivated', 'Unconfirmed', 'InactiveRecipient') then 'rejected'
            when kind in ('SMTPApiError', 'TemplateRenderingFailed') then 'failed'
            when kind in ('InboundError', 'OpenRelayTest') then kind
            -- HardBounce, SoftBounce, Blocked, DMARCPolicy, VirusNotification, Unknown, and types that Postmark adds later
            when record_type = 'Bounce' then 'bounced'
            -- the suppression that follows a bounce, which has its own event
            when record_type = 'SubscriptionChange' then kind
            else record_type
        end as event_type,
        body #>> '{Metadata,campaign_id}' as campaign_id,
        body #>> '{Metadata,mailbox_id}' as mailbox_id,
        body #>> '{Metadata,domain_id}' as domain_id,
        body #>> '{Metadata,sequence_id}' as sequence_id,
        body #>> '{Metadata,step}' as step,
        body #>> '{Metadata,variant}' as variant,
        jsonb_build_array(body -> 'Tag', body #> '{Metadata,tags}') as tags,
        {{ enhanced_status_code('diagnostic') }} as smtp_status,
        {{ smtp_reply_code('diagnostic') }} as smtp_code,
        case when record_type = 'Bounce' then kind end as bounce_type,
        diagnostic,
        body ->> 'OriginalLink' as url,
        body ->> 'UserAgent' as user_agent,
        null::boolean as is_machine,
        coalesce({{ iso_to_timestamp('happened_at') }}, {{ mail_date_to_timestamp('mail_date') }}) as occurred_at,
        loaded_at,
        loaded_xid
    from parsed
),
{{ as_email_events('postmark') }}
