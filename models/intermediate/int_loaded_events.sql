{#- a view: core is not part of a published definition, and a unit test of core can give this input as rows -#}
{{ config(materialized='view', schema='staging') }}

select
    provider,
    event_id,
    workspace_id,
    message_id,
    provider_message_id,
    alias_message_id,
    campaign_id,
    mailbox_id,
    domain_id,
    sequence_id,
    step,
    variant,
    tags,
    recipient_hash,
    recipient_domain,
    event_type,
    smtp_status,
    smtp_code,
    bounce_type,
    diagnostic,
    url,
    user_agent,
    is_machine,
    occurred_at,
    loaded_at,
    loaded_xid
from (
    select * from {{ ref('stg_native_events') }}
    union all
    select * from {{ ref('stg_compressed_events') }}
    union all
    select * from {{ ref('stg_sendgrid_events') }}
    union all
    select * from {{ ref('stg_ses_events') }}
    union all
    select * from {{ ref('stg_postmark_events') }}
    union all
    select * from {{ ref('stg_mailgun_events') }}
    union all
    select * from {{ ref('stg_resend_events') }}
    union all
    select * from {{ ref('stg_sparkpost_events') }}
    union all
    select * from {{ ref('stg_mailjet_events') }}
    union all
    select * from {{ ref('stg_brevo_events') }}
    union all
    select * from {{ ref('stg_mailersend_events') }}
    union all
    select * from {{ ref('stg_mailtrap_events') }}
    union all
    select * from {{ ref('stg_mandrill_events') }}
    union all
    select * from {{ ref('stg_postal_events') }}
) as events
