{# The objects of a provider's bodies, as CTEs `payloads` and `bodies`: a body is one object, or an array of several. #}
{% macro webhook_bodies(provider) -%}
payloads as (
    select * from {{ source('raw', 'webhook_payloads') }}
    where provider = '{{ provider }}'
),

bodies as (
    select
        payloads.workspace_id,
        payloads.loaded_at,
        body
    from payloads
    cross join lateral jsonb_path_query(payloads.payload, '$[*]') as body
    where jsonb_typeof(body) = 'object'
),
{%- endmacro %}


{#
    What the staging views of webhooks share. Each view brings its provider's words into one row an event, in a CTE `events`
    with the columns: workspace_id, provider_message_id, message_key (the provider's id that all events of a message have),
    recipient (the address), provider_event (its word), event_type (ours), campaign_id, mailbox_id, domain_id, smtp_status,
    smtp_code, bounce_type, diagnostic, url, user_agent, is_machine, occurred_at, loaded_at; and ends with this macro.
#}
{% macro as_email_events(provider) %}
hashed as (
    select
        *,
        app.recipient_hash(recipient) as recipient_hash
    from events
)

select
    '{{ provider }}'::text as provider,
    -- the provider's own ids are missing, or shared by several events
    '{{ provider }}:' || md5(
        coalesce(message_key, '') || chr(31)
        || coalesce(recipient_hash, '') || chr(31)
        || coalesce(provider_event, '') || chr(31)
        || coalesce(extract(epoch from occurred_at)::text, '') || chr(31)
        || coalesce(url, '')
    ) as event_id,
    workspace_id,
    -- a message is one e-mail to one recipient; one id of the provider's can serve several
    message_key || coalesce(':' || recipient_hash, '') as message_id,
    provider_message_id,
    nullif(campaign_id, '') as campaign_id,
    nullif(mailbox_id, '') as mailbox_id,
    nullif(domain_id, '') as domain_id,
    recipient_hash,
    app.recipient_domain(recipient) as recipient_domain,
    event_type,
    smtp_status,
    smtp_code,
    bounce_type,
    app.mask_addresses(diagnostic) as diagnostic,
    app.mask_addresses(url) as url,
    user_agent,
    is_machine,
    occurred_at,
    loaded_at
from hashed
{% endmacro %}
