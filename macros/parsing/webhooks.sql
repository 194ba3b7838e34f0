{# The CTEs `payloads` and `bodies` of a provider's webhooks: one row for each JSON object of a body, which can be an array. #}
{% macro webhook_bodies(provider) -%}
payloads as (
    select * from {{ source('raw', 'webhook_payloads') }}
    where provider = '{{ provider }}'
),

bodies as (
    select
        payloads.workspace_id,
        payloads.loaded_at,
        payloads.loaded_xid,
        body
    from payloads
    cross join lateral jsonb_path_query(payloads.payload, '$[*]') as body
    where jsonb_typeof(body) = 'object'
),
{%- endmacro %}


{#
    The end of a provider's staging view: ids, hashes and masks. The view first parses the bodies into a CTE `events`, one row for
    each event, with the columns workspace_id, provider_message_id, message_key (the provider's id that all events of a message
    share), recipient (the address), provider_event (the provider's event type), event_type (ours), campaign_id, mailbox_id,
    domain_id, smtp_status, smtp_code, bounce_type, diagnostic, url, user_agent, is_machine, occurred_at, loaded_at,
    loaded_xid.
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
    -- a hash, because providers' own ids are missing or shared by several events. The text of a row quotes its fields, so that
    -- different fields never give the same text.
    '{{ provider }}:' || md5(
        row(message_key, recipient_hash, provider_event, extract(epoch from occurred_at), url)::text
    ) as event_id,
    {{ as_id('workspace_id') }} as workspace_id,
    -- a message is one e-mail to one recipient; a provider can use one id for several recipients
    {{ as_id('message_key') }} || coalesce(':' || recipient_hash, '') as message_id,
    provider_message_id,
    nullif({{ as_id('campaign_id') }}, '') as campaign_id,
    nullif({{ as_id('mailbox_id') }}, '') as mailbox_id,
    nullif({{ as_id('domain_id') }}, '') as domain_id,
    recipient_hash,
    app.recipient_domain(recipient) as recipient_domain,
    event_type,
    smtp_status,
    smtp_code,
    bounce_type,
    {{ masked('diagnostic') }} as diagnostic,
    {{ masked('url') }} as url,
    {{ masked('user_agent') }} as user_agent,
    is_machine,
    occurred_at,
    loaded_at,
    loaded_xid
from hashed
{% endmacro %}


{#
    An id of at most 400 bytes; a longer one is replaced by its md5. Core has ids in indexes, whose entries have at most 2704 bytes:
    one event with a longer id would fail every build.
#}
{% macro as_id(expression) -%}
    case when octet_length({{ expression }}) > 400 then md5({{ expression }}) else {{ expression }} end
{%- endmacro %}


{#
    A text of a provider, cut to 4,000 characters and without e-mail addresses. The last word of a cut text is removed, because it
    could be the start of an address.
#}
{% macro masked(expression) -%}
    app.mask_addresses(
        case
            when length({{ expression }}) > 4000 then regexp_replace(left({{ expression }}, 4000), '\S{1,255}$', '')
            else {{ expression }}
        end
    )
{%- endmacro %}
