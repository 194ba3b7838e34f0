{#
    The CTEs `payloads` and `bodies` of a provider's webhooks: one row for each event, as the provider documents it, with
    `envelope_time`, the time of its envelope. What is no event is in no row here: stg_rejected_payloads reports it.

    `plain` decompresses a body once: PostgreSQL evaluates a function in FROM once a row, and would decompress the column in each
    expression. jsonb_path_query() has no place here: its time is quadratic.
#}
{% macro webhook_bodies(provider) -%}
payloads as (
    select * from {{ source('raw', 'webhook_payloads') }}
    where provider = '{{ provider }}' and {{ is_not_excluded() }}
),

bodies as (
    select
        payloads.workspace_id,
        payloads.loaded_at,
        payloads.loaded_xid,
        unpacked.event as body,
        unpacked.event_time as envelope_time
    from payloads
    cross join lateral unnest(array[payloads.payload #> '{}']) as plain (payload)
    cross join lateral unnest(array[{{ body_problem('plain.payload') }}]) as tested (problem)
    cross join lateral (
        {{ unpacked_elements('plain.payload', **webhook_format(provider)) | indent(8) }}
    ) as unpacked
    where tested.problem is null and unpacked.kind is null
),
{%- endmacro %}


{# The condition that a body was not excluded because it takes too long to read: api/builds/slow_payloads.py. The few ids are looked up once. #}
{% macro is_not_excluded() -%}
    payload_id <> all((select app.slow_payload_ids())::bigint[])
{%- endmacro %}


{#
    The rows of app.unpack_body() for a decompressed body: event, event_time and kind, which is null for an event. A body that is an
    event, or an array of events, needs no more than a look at each. The function is called for all else.

    The other arguments are expressions: webhook_format() has them.
#}
{% macro unpacked_elements(payload, ordinary, event, kinds, paths) -%}
select
    unpacked_element.event,
    unpacked_element.event_time,
    unpacked_element.kind
from (
    select {{ payload }} as element
    where jsonb_typeof({{ payload }}) <> 'array'
    union all
    select array_elements.element
    from jsonb_array_elements(case when jsonb_typeof({{ payload }}) = 'array' then {{ payload }} end) as array_elements (element)
) as elements
cross join lateral unnest(array[
    jsonb_typeof(elements.element) = 'object' and coalesce(elements.element @@ {{ ordinary }}, false)
]) as looked_at (is_ordinary)
cross join lateral (
    select
        elements.element as event,
        null::text as event_time,
        null::text as kind
    where looked_at.is_ordinary
    union all
    select
        part.event,
        part.event_time,
        part.kind
    from app.unpack_body(elements.element, {{ event }}, {{ kinds }}, {{ paths }}) as part
    where not looked_at.is_ordinary
) as unpacked_element
{%- endmacro %}


{#
    Why a decompressed body is not read, by its structure alone; null if it is read. Its events are the elements of the array, or of
    the object's member `items` (a page of Mailgun's events API). A number such as 1e131071 has 131,072 digits as text, and an array
    of them more than PostgreSQL can hold: an error that would stop every build. A body of 100 levels has at least 800 bytes.
#}
{% macro body_problem(payload) -%}
    case
        when pg_column_size({{ payload }}) > {{ var('max_body_bytes') }} then 'too_large'
        when {{ length_if_array(payload) }} > {{ var('max_body_events') }} then 'too_many_events'
        when {{ length_if_array(payload ~ " -> 'items'") }} > {{ var('max_body_events') }} then 'too_many_events'
        when pg_column_size({{ payload }}) > 800 and jsonb_path_exists({{ payload }}, 'strict $.**{100}') then 'unreadable_body'
        when
            jsonb_path_exists({{ payload }}, 'strict $.**{0 to 100} ? (@.type() == "number") ? (@ > 1e30 || @ < -1e30)')
            then 'unreadable_body'
    end
{%- endmacro %}


{# The number of an array's elements; null if the value is no array. #}
{% macro length_if_array(value) -%}
    case when jsonb_typeof({{ value }}) = 'array' then jsonb_array_length({{ value }}) end
{%- endmacro %}


{#
    The end of a provider's staging view: ids, hashes and masks. The view first parses the bodies into a CTE `events`, one row for
    each event, with the columns workspace_id, provider_message_id, message_key (the provider's id that all events of a message
    share), recipient (the address), provider_event (the provider's event type), event_type (ours), campaign_id, mailbox_id,
    domain_id, sequence_id, step, variant, tags (JSON: a text or an array of texts), smtp_status, smtp_code, bounce_type, diagnostic,
    url, user_agent, is_machine, occurred_at, loaded_at, loaded_xid.

    has_aliases: a message of the provider has a second id, and some events carry only that. Then `events` has alias_key, too: the
    second id, in the words of message_key; null if the event does not carry it, or if it is message_key for every message. Of an
    event without the first id it is message_key itself.
#}
{% macro as_email_events(provider, has_aliases=false) %}
hashed as (
    select
        *,
        app.recipient_hash(left(recipient, 4000)) as recipient_hash
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
    left(provider_message_id, 1000) as provider_message_id,
    {% if has_aliases -%}
    -- never without a recipient: one second id can be that of several messages
    {{ as_id('alias_key') }} || ':' || recipient_hash as alias_message_id,
    {%- else -%}
    null::text as alias_message_id,
    {%- endif %}
    nullif({{ as_id('campaign_id') }}, '') as campaign_id,
    nullif({{ as_id('mailbox_id') }}, '') as mailbox_id,
    nullif({{ as_id('domain_id') }}, '') as domain_id,
    {{ as_label('sequence_id') }} as sequence_id,
    {{ as_label('step') }} as step,
    {{ as_label('variant') }} as variant,
    app.tags_of(tags) as tags,
    recipient_hash,
    app.recipient_domain(left(recipient, 4000)) as recipient_domain,
    left(event_type, 100) as event_type,
    smtp_status,
    smtp_code,
    left(bounce_type, 100) as bounce_type,
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


{# A sequence, step or variant: an id, trimmed; null if it is blank. #}
{% macro as_label(expression) -%}
    nullif({{ as_id("btrim(" ~ expression ~ ", e' \\t\\n\\r')") }}, '')
{%- endmacro %}


{#
    The same of a column: most are short, and neither begins nor ends with white space, for which two characters are looked at. A
    webhook's expression would be evaluated more often instead.
#}
{% macro as_label_of_column(column) -%}
    case
        when octet_length({{ column }}) <= 400 and ascii({{ column }}) > 32 and ascii(right({{ column }}, 1)) > 32 then {{ column }}
        when octet_length({{ column }}) <= 400 then nullif(btrim({{ column }}, e' \t\n\r'), '')
        else {{ as_label(column) }}
    end
{%- endmacro %}


{# A column, cut to this many characters. left() counts the characters, which a short text need not be. #}
{% macro cut_column(column, characters) -%}
    case when octet_length({{ column }}) <= {{ characters }} then {{ column }} else left({{ column }}, {{ characters }}) end
{%- endmacro %}


{#
    A text of a provider, cut to 4,000 characters and without e-mail addresses. The last word of a cut text is removed, because it
    could be the start of an address.
#}
{% macro masked(expression) -%}
    app.mask_addresses(app.clip_text({{ expression }}))
{%- endmacro %}
