{#
    The events of the platform's own log: of rows with the columns of raw.email_events. The rows that are compressed are read by a view of
    their own, because it unpacks all of them.
#}
{% macro native_events(source) -%}
select
    'native'::text as provider,
    {{ as_id('event_id') }} as event_id,
    {{ as_id('workspace_id') }} as workspace_id,
    {{ as_id('message_id') }} as message_id,
    {{ cut_column('message_id', 1000) }} as provider_message_id,
    null::text as alias_message_id,
    {{ as_id('campaign_id') }} as campaign_id,
    {{ as_id('mailbox_id') }} as mailbox_id,
    {{ as_id('domain_id') }} as domain_id,
    {{ as_label_of_column('sequence_id') }} as sequence_id,
    {{ as_label_of_column('step') }} as step,
    {{ as_label_of_column('variant') }} as variant,
    app.clean_tags(tags) as tags,
    -- other systems write to this log, too, and could write an address in place of a hash. What is as it should be needs no more
    -- than the first condition, here and below: cutting a text counts its characters.
    case
        when octet_length(recipient_hash) <= 400 and strpos(recipient_hash, '@') = 0 then recipient_hash
        when left(recipient_hash, 4000) like '%@%' then app.recipient_hash(left(recipient_hash, 4000))
        else left(recipient_hash, 400)
    end as recipient_hash,
    case
        when octet_length(recipient_domain) <= 1000 and strpos(recipient_domain, '@') = 0 then lower(recipient_domain)
        else lower(substring(left(recipient_domain, 1000) from '[^@]*$'))
    end as recipient_domain,
    {{ cut_column('event_type', 100) }} as event_type,
    {{ cut_column('smtp_status', 100) }} as smtp_status,
    smtp_code,
    null::text as bounce_type,
    {{ masked('diagnostic') }} as diagnostic,
    {{ masked('url') }} as url,
    {{ masked('user_agent') }} as user_agent,
    is_machine,
    occurred_at,
    loaded_at,
    loaded_xid
from {{ source }}
{%- endmacro %}
