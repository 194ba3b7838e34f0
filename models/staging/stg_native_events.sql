with source as (
    select * from {{ source('raw', 'email_events') }}
)

select
    'native'::text as provider,
    {{ as_id('event_id') }} as event_id,
    {{ as_id('workspace_id') }} as workspace_id,
    {{ as_id('message_id') }} as message_id,
    message_id as provider_message_id,
    {{ as_id('campaign_id') }} as campaign_id,
    {{ as_id('mailbox_id') }} as mailbox_id,
    {{ as_id('domain_id') }} as domain_id,
    -- other systems write to this log, too, and could write an address in place of a hash
    case when recipient_hash like '%@%' then app.recipient_hash(recipient_hash) else recipient_hash end as recipient_hash,
    lower(substring(recipient_domain from '[^@]*$')) as recipient_domain,
    event_type,
    smtp_status,
    smtp_code,
    null::text as bounce_type,
    {{ masked('diagnostic') }} as diagnostic,
    {{ masked('url') }} as url,
    {{ masked('user_agent') }} as user_agent,
    is_machine,
    occurred_at,
    loaded_at,
    loaded_xid
from source
