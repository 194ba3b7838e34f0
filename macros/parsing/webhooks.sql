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
    The rest of a view of webhooks. It brings its provider's words into one row an event, in a CTE `events` with the columns:
    workspace_id, provider_message_id, message_key (the provider's id that all events of a message have), recipient (the
    address), provider_event (its word), event_type (ours), campaign_id, mailbox_id, domain_id, smtp_status, smtp_code,
    bounce_type, diagnostic, url, user_agent, is_machine, occurred_at, loaded_at; and ends with this macro.
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
    -- the provider's own ids are missing, or shared by several events; a row's text quotes its fields, so that they cannot run
    -- into one another
    '{{ provider }}:' || md5(
        row(message_key, recipient_hash, provider_event, extract(epoch from occurred_at), url)::text
    ) as event_id,
    {{ as_id('workspace_id') }} as workspace_id,
    -- a message is one e-mail to one recipient; one id of the provider's can serve several
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
    loaded_at
from hashed
{% endmacro %}


{#
    An id, which core keeps in indexes: their entries have at most 2704 bytes, and one event with a longer id would stop
    every build. A long one is its md5.
#}
{% macro as_id(expression) -%}
    case when octet_length({{ expression }}) > 400 then md5({{ expression }}) else {{ expression }} end
{%- endmacro %}


{#
    A text of others': no longer than anybody reads, and without addresses. What a cut leaves of the last word could be the
    beginning of one.
#}
{% macro masked(expression) -%}
    app.mask_addresses(
        case
            when length({{ expression }}) > 4000 then regexp_replace(left({{ expression }}, 4000), '\S{1,255}$', '')
            else {{ expression }}
        end
    )
{%- endmacro %}
