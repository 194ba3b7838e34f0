with source as (
    select * from {{ source('raw', 'email_events') }}
)

select
    'native'::text as provider,
    event_id,
    workspace_id,
    message_id,
    message_id as provider_message_id,
    campaign_id,
    mailbox_id,
    domain_id,
    recipient_hash,
    lower(recipient_domain) as recipient_domain,
    event_type,
    smtp_status,
    smtp_code,
    null::text as bounce_type,
    app.mask_addresses(diagnostic) as diagnostic,
    app.mask_addresses(url) as url,
    user_agent,
    is_machine,
    occurred_at,
    loaded_at
from source
