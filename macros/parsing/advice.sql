{#
    What to do about each problem of data quality, in one sentence. Add a new problem here and in docs/explanation/counting.md, unless
    it is in left_out_problems().
#}
{% macro advice() -%}
    {{ return({
        'no_workspace': 'Set workspace_id in the event or the row, or load with --workspace.',
        'no_event_id': 'Write a stable, unique event_id for each event.',
        'no_message': 'Check that the webhook has the message id of the provider, and leave out events that are not about a message.',
        'no_event_type': 'Write one of the known event types.',
        'no_time': 'Send the time as Unix seconds or as ISO 8601 with a time zone, as the provider does.',
        'future_timestamp': 'Check the clock and the time zone of the sender, and that milliseconds are not written as seconds.',
        'conflicting_duplicate': 'Give a corrected event an event_id of its own: the first copy counts.',
        'unknown_event_type': 'Map a new event type of a provider in its staging view, or write one of the known event types.',
        'unreadable_body': 'Look at the body in raw.rejected_payloads or raw.webhook_payloads, and send it as the provider sends it, under the name of the provider.',
        'unknown_provider': 'Write the name of a provider that mailmart ingest --provider knows.',
        'too_large': 'Send fewer events in one body.',
        'too_many_events': 'Split the body: mailmart ingest does it itself.',
        'invalid_event': 'Correct the event (raw.rejected_payloads has the reason), and load it again.',
        'message_not_retained': 'Nothing, or keep events longer with MAILMART_RETAIN_EVENTS: the counts of the message are final.',
        'workspace_erased': 'Stop sending for this workspace: it was erased, and its new data are refused.',
        'not_rfc3339': 'Write occurred_at as 2026-11-20T10:00:00Z, with an offset, and load the event again.',
        'provider_test': 'Nothing: the test shows that the webhook arrives.',
        'engagement_without_delivery': 'Switch on delivery events at the provider, and send SES mail to one recipient each.',
        'message_id_with_several_recipients': 'Give each recipient a message_id of its own.',
        'no_id': 'Give the row an id: without one it is ignored.',
        'padded_id': 'Remove the white space around the id.',
        'unknown_timezone': 'Write a name of the IANA time zone database, for example Europe/Berlin: until then, UTC is used.',
        'unknown_status': 'Write one of the documented statuses.',
        'invalid_time': 'Write a time of the years 1 to 9999: it is shown as null.',
        'invalid_blacklist_status': 'Write true, false or an object with listed for each blacklist: any other value counts as not listed.',
        'unknown_domain': 'Add the domain to the table domains, or correct the id.',
        'unknown_ip_address': 'Add the address to the table smtp_ip_addresses, or correct the id.',
    }) }}
{%- endmacro %}


{# The sentence for the problem in a column; null if advice() has none. #}
{% macro advice_for(problem) -%}
    case {{ problem }}
        {%- for name, sentence in advice().items() %}
        when {{ sql_literal(name) }} then {{ sql_literal(sentence) }}
        {%- endfor %}
    end
{%- endmacro %}


{# advice_for(), with the words that are not known. #}
{% macro advice_with_words(problem, words) -%}
    case
        when {{ words }} is null then {{ advice_for(problem) }}
        else {{ sql_literal(advice()['unknown_event_type'].rstrip('.')) }} || ': ' || {{ words }} || '.'
    end
{%- endmacro %}


{# What to do about a source from which no mail comes; null if its last request was stored, or it takes none. #}
{% macro advice_for_source() -%}
    case
        when status <> 'active' then null
        when coalesce(last_body_at, last_rejected_at, last_signature_failure_at) is null
            then 'Nothing has arrived: paste the URL of the source into the settings of the provider, choose all events, and send a test.'
        when last_signature_failure_at > greatest(last_body_at, last_rejected_at, '-infinity') and is_signed and last_body_at is not null
            then 'Bodies have arrived, but the last request was refused: see last_signature_failure. If the provider has a new signing secret, set it with mailmart sources rotate --signing-key. Otherwise the request was not from the provider, and nothing has to be done.'
        when last_signature_failure_at > greatest(last_body_at, last_rejected_at, '-infinity') and is_signed
            then 'No request has had a valid signature yet: see last_signature_failure, and set the signing secret of the provider with mailmart sources rotate --signing-key.'
        when last_signature_failure_at > greatest(last_body_at, last_rejected_at, '-infinity')
            then 'The last request was refused: set the signing secret of the provider with mailmart sources rotate --signing-key.'
        when last_rejected_at > greatest(last_body_at, last_signature_failure_at, '-infinity')
            then 'The last body was rejected: see last_rejection, and check that the URL is that of a source of this provider.'
    end
{%- endmacro %}
