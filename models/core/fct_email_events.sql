{#-
    The id comes first, in the key and in the sort of copies: PostgreSQL compares the first eight bytes of the first column as a
    number. Those of workspaces are mostly equal, and both columns would be compared as texts.
-#}
{{
    config(
        unique_key=['event_id', 'workspace_id'],
        indexes=[{'columns': ['workspace_id', 'message_id']}],
        meta={
            'insert_only': true,
            'has_aliases': true,
            'reads_raw': true,
            'recompute_scope': is_in_raw_logs(),
            'without_statistics': [
                'provider_message_id', 'alias_message_id', 'sequence_id', 'step', 'variant', 'tags', 'smtp_status', 'smtp_code',
                'bounce_type', 'diagnostic', 'url', 'user_agent',
            ],
        },
    )
}}

{#- in an empty table there is nothing to look up, unless its rows are compressed #}
{%- set has_known_events = is_incremental_run() and (has_compressed_events() or not is_empty()) %}
{#- a closed message takes no more events: they are in fct_rejected_events #}
{%- set has_closed_messages = has_removed_rows('fct_email_events') %}
{%- set providers = newly_loaded_providers() %}
{%- set sources = sources_of_events(providers) %}
{#- the pre-hook has read them already, to take their messages out of blocks #}
{%- set table_of_new_events = 'pg_temp.newly_loaded_events' if has_table_of_new_events() else none %}
{%- set order_of_copies = [
    'event_id', 'workspace_id', 'loaded_at', 'occurred_at', 'message_id', 'event_type', 'provider', 'campaign_id', 'mailbox_id',
    'domain_id', 'is_machine', 'smtp_status', 'smtp_code', 'diagnostic', 'url', 'alias_message_id',
    'sequence_id', 'step', 'variant', 'tags',
] | join(', ') %}

with bounce_patterns as (
    select * from {{ ref('bounce_patterns') }}
),

bounce_terms as (
    select * from {{ ref('bounce_terms') }}
),

bounce_reasons as (
    select * from {{ ref('bounce_reasons') }}
),

{% for source, condition in sources.items() -%}
-- A first build reads the native log in parallel, and the bodies of webhooks once.
{{ source }}_events as {{ 'not ' if source == 'native' or has_known_events }}materialized (
    select * from {{ table_of_new_events or loaded_events_of(ref('int_loaded_events'), source, providers) }}
    where
        {{ condition }}
        and {{ is_newly_loaded() }}
),

{% endfor -%}
-- a later build reads little, and reads it once
loaded_events as {{ 'not ' if not has_known_events }}materialized (
    {%- for source in sources %}
    select * from {{ source }}_events
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

-- regex rules are expensive, and most bounces differ only in hosts and ids: each step classifies distinct values once
distinct_bounces as materialized (
    select distinct
        smtp_status,
        smtp_code,
        bounce_type,
        diagnostic,
        {{ bounce_key('loaded_events') }} as bounce_key
    from loaded_events
    where event_type = 'bounced'
),

stripped_bounces as materialized (
    select
        bounce_key,
        {{ bounce_status('distinct_bounces') }} as smtp_status,
        {{ bounce_reply_code('distinct_bounces') }} as smtp_code,
        coalesce(bounce_type, '') as bounce_type,
        {{ strip_bounce_text(bounce_text('distinct_bounces')) }} as stripped
    from distinct_bounces
),

distinct_stripped_texts as materialized (
    select distinct stripped from stripped_bounces
),

bounce_texts as materialized (
    select
        stripped,
        {{ bounce_words('stripped') }} as words
    from distinct_stripped_texts
),

bounces_in_words as materialized (
    select
        stripped_bounces.bounce_key,
        stripped_bounces.smtp_status,
        stripped_bounces.smtp_code,
        stripped_bounces.bounce_type,
        coalesce(bounce_texts.words, '') as words
    from stripped_bounces
    left join bounce_texts on stripped_bounces.stripped = bounce_texts.stripped
),

distinct_bounces_in_words as materialized (
    select distinct
        smtp_status,
        smtp_code,
        bounce_type,
        words
    from bounces_in_words
),

{{ compiled_bounce_rules('bounce_patterns', 'bounce_terms') }},

reasons_of_words as materialized (
    select
        smtp_status,
        smtp_code,
        bounce_type,
        words,
        {{ first_bounce_rule('distinct_bounces_in_words', 'bounce_rules') }} as bounce_reason
    from distinct_bounces_in_words
),

bounces_with_reason as (
    select
        bounces_in_words.bounce_key,
        reasons_of_words.bounce_reason
    from bounces_in_words
    inner join reasons_of_words using (smtp_status, smtp_code, bounce_type, words)
),

classified_bounces as materialized (
    select
        bounces_with_reason.bounce_key,
        bounce_reasons.bounce_reason,
        bounce_reasons.is_hard as is_hard_bounce
    from bounces_with_reason
    -- a text that an erasure has removed says the reason that it had: "550 [erased: mailbox_full]", at the end of the key
    left join bounce_reasons as erased_reasons
        on erased_reasons.bounce_reason = substring(bounces_with_reason.bounce_key from '\[erased: ([a-z_]+)\]"?\)$')
    inner join bounce_reasons
        on coalesce(erased_reasons.bounce_reason, bounces_with_reason.bounce_reason) = bounce_reasons.bounce_reason
),

-- The first of the copies of an event counts. Of copies that were loaded at the same time, the content decides, so that it is
-- always the same one. No collation is named: each would be one more column to sort by. The native log is sorted by itself,
-- because PostgreSQL does not sort anything in parallel together with the events of webhooks. With the offset, the provider of
-- the native log is no constant, which PostgreSQL would not sort by: then both are in the order in which they are merged, and
-- neither is sorted twice.
{%- set is_counted = is_valid_event() ~ (' and ' ~ is_not_closed('loaded_events') if has_closed_messages else '') %}
{%- for source, condition in sources.items() %}
first_{{ source }}_copies as (
    select distinct on (event_id, workspace_id) *
    from (
        select * from {{ 'loaded_events' if has_known_events else source ~ '_events as loaded_events' }}
        where
            {{ condition }}
            and {{ is_counted }}
        offset 0 -- noqa: AM09
    ) as copies
    order by {{ order_of_copies }}
),
{% endfor %}
first_copies as (
    {%- if 'webhook' in sources %}
    select distinct on (event_id, workspace_id) *
    from (
        select * from first_native_copies
        union all
        select * from first_webhook_copies
    ) as copies
    order by {{ order_of_copies }}
    {%- else %}
    select * from first_native_copies
    {%- endif %}
),

{% if has_known_events and is_distributed() -%}
-- the keys go to the nodes, and the known ones come back
known_events as materialized (
    select
        known_events.workspace_id,
        known_events.event_id
    from {{ this }} as known_events
    inner join first_copies using (workspace_id, event_id)
    where {{ is_current('known_events') }}
),

{% endif -%}
-- a known event is never replaced by a later copy
unknown_events as not materialized (
    select first_copies.*
    from first_copies
    {%- if has_known_events and is_distributed() %}
    left join known_events as known_event using (workspace_id, event_id)
    {%- elif has_known_events %}
    left join {{ lateral_lookup(this, ['workspace_id', 'event_id'], of='first_copies') }} as known_event on true
    {%- endif %}
    {%- if has_known_events %}
    where known_event.event_id is null
    {%- endif %}
),

-- the join comes last, so that the sort above can run in parallel. A full join can only be a hash join: with statistics of an
-- empty log, the planner expects few events, and would compare each of a million with each bounce.
new_events as (
    select
        unknown_events.*,
        classified_bounces.bounce_reason,
        classified_bounces.is_hard_bounce
    from unknown_events
    full join classified_bounces
        on
            case when unknown_events.event_type = 'bounced' then {{ bounce_key('unknown_events') }} end
            = classified_bounces.bounce_key
    -- bounces of known events; not "is not null", of which the planner would make a left join
    where coalesce(unknown_events.event_id, '') <> ''
)

select
    new_events.workspace_id,
    new_events.event_id,
    {{ assigned_message_id('new_events') }} as message_id,
    new_events.provider,
    new_events.provider_message_id,
    new_events.alias_message_id,
    nullif(new_events.alias_message_id = new_events.message_id, false) as is_under_alias,
    coalesce(new_events.campaign_id, '') as campaign_id,
    coalesce(new_events.mailbox_id, '') as mailbox_id,
    coalesce(new_events.domain_id, '') as domain_id,
    new_events.sequence_id,
    new_events.step,
    new_events.variant,
    new_events.tags,
    new_events.recipient_hash,
    coalesce(new_events.recipient_domain, '') as recipient_domain,
    new_events.event_type,
    new_events.smtp_status,
    new_events.smtp_code,
    new_events.bounce_type,
    new_events.bounce_reason,
    new_events.diagnostic,
    new_events.url,
    new_events.user_agent,
    new_events.is_hard_bounce,
    new_events.is_machine,
    new_events.occurred_at,
    new_events.loaded_at,
    {{ batch_id() }}::bigint as valid_from,
    {{ open_ended() }}::bigint as valid_to
from new_events{{ join_assigned_events('new_events') }}
