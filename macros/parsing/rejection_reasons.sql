{#
    The condition that an event is valid: it has a workspace, an id, a message, a type and a time, which is at most a day later
    than it was loaded, and not before 1970. Plain conditions, of which the planner can estimate the share of rows.
#}
{% macro is_valid_event() -%}
    event_id <> ''
    and workspace_id <> ''
    and message_id <> ''
    and event_type <> ''
    and isfinite(occurred_at)
    and occurred_at >= {{ first_event_time() }}
    and occurred_at <= {{ last_event_time() }}
{%- endmacro %}


{# The first of these conditions that an event does not meet; null if it is valid. #}
{% macro rejection_reason() -%}
    case
        when coalesce(workspace_id, '') = '' then 'no_workspace'
        when {{ left_out_reason() }} is not null then {{ left_out_reason() }}
        when coalesce(event_id, '') = '' then 'no_event_id'
        when coalesce(message_id, '') = '' then 'no_message'
        when coalesce(event_type, '') = '' then 'no_event_type'
        when not coalesce(isfinite(occurred_at) and occurred_at >= {{ first_event_time() }}, false) then 'no_time'
        when occurred_at > {{ last_event_time() }} then 'future_timestamp'
    end
{%- endmacro %}


{# No mail is older. A time that Python and JSON cannot show (44 BC) would fail every answer with it. #}
{% macro first_event_time() -%}
    timestamptz '1970-01-01 00:00:00+00'
{%- endmacro %}


{#
    A day later than the event was loaded. 24 hours: the day on which New York's clocks change has 23 or 25. At most the year 9999,
    which an answer can show, whatever loaded_at is.
#}
{% macro last_event_time() -%}
    least(loaded_at, timestamptz '9999-12-30 00:00:00+00') + interval '24 hours'
{%- endmacro %}


{# The event types that have a meaning here. Any other one is kept, and decides nothing. #}
{% macro known_event_types() -%}
    'queued', 'sent', 'delivered', 'deferred', 'bounced', 'rejected', 'failed', 'opened', 'clicked', 'replied', 'autoresponded',
    'complained', 'unsubscribed', 'subscribed'
{%- endmacro %}


{#
    Why an event is left out on purpose: a documented event of a provider that is about no message, or says again what another event
    says. Null for any other event. data_quality lists these apart from problems.
#}
{% macro left_out_reason() -%}
    case concat(provider, ' ', event_type)
        when 'sendgrid account_status_change' then 'account_event'
        -- of its Email Logs: a request to send, which can have many recipients
        when 'sendgrid received' then 'account_event'
        when 'postmark OpenRelayTest' then 'account_event'
        when 'mailgun list_member_uploaded' then 'account_event'
        when 'mailgun list_member_upload_error' then 'account_event'
        when 'mailgun list_uploaded' then 'account_event'
        when 'mailgun email_validation' then 'account_event'
        -- the sender's own entry in the suppression list: nobody unsubscribed
        when 'postmark SuppressedBySender' then 'account_event'
        -- nothing is sent yet, and may never be
        when 'resend email.scheduled' then 'account_event'
        -- not about mail
        when 'sparkpost sms_status' then 'account_event'
        when 'postmark InboundError' then 'inbound_mail'
        when 'mailgun stored' then 'inbound_mail'
        -- the suppression that follows a bounce, which has its own event
        when 'postmark HardBounce' then 'repeated_bounce'
    end
{%- endmacro %}


{#
    The word of a rejected event that is not known, or null: of another problem, or nothing that an answer should show. At most 40
    characters, letters with a few digits and separators between them: no address, number, markup or text.
#}
{% macro unknown_word() -%}
    case
        when
            problem = 'unknown_event_type'
            and length(event_type) <= 40
            and event_type ~ '^[A-Za-z][A-Za-z0-9]*([ _.:/-][A-Za-z0-9]+){0,5}$'
            and event_type !~ '[0-9]{3}'
            then event_type
    end
{%- endmacro %}


{#
    A query of the rejected events by problem and unknown word, with each word's place among those of its problem: the most frequent
    first, events without a word last. `events` has workspace_id, provider, problem, word (unknown_word()) and loaded_at.
#}
{% macro ranked_unknown_words(events) -%}
    select
        workspace_id,
        provider,
        problem,
        word,
        count(*) as events,
        min(loaded_at) as first_loaded_at,
        max(loaded_at) as last_loaded_at,
        row_number() over (
            partition by workspace_id, provider, problem
            order by word is null, count(*) desc, word collate "C"
        ) as place
    from {{ events }}
    group by workspace_id, provider, problem, word
{%- endmacro %}


{# How many unknown words an answer names, the most frequent ones. #}
{% macro max_unknown_words() -%}
    5
{%- endmacro %}


{# The values of `problem` that are no problem. #}
{% macro left_out_problems() -%}
    'heartbeat', 'empty_body', 'account_event', 'inbound_mail', 'repeated_bounce'
{%- endmacro %}
