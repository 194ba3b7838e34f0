{#
    Two ids of one message. An event that carries only the second id of its message (is_under_alias) belongs to the message of the
    events that carry both, whichever came first. Only fct_email_events knows of aliases: message_id there is the message's.
#}

{#
    In the transaction of fct_email_events: moves events under an alias to their messages. What was inserted by this batch is changed
    in place; an older event gets a new version, by which fct_messages sees both messages. The partial indexes are made by the first
    build that inserts an event with a second id, so a warehouse without them pays nothing: to make two empty indexes, PostgreSQL reads
    the whole table twice.
#}
{% macro assign_events_under_alias() -%}
    do $aliases$
    begin
        -- "if not exists" would wait for a vacuum in every build
        if
            to_regclass('{{ this.schema }}.{{ this.identifier }}_teaching_alias') is null
            and exists (select 1 from {{ this }} where valid_from = {{ batch_id() }} and alias_message_id is not null)
        then
            create index {{ this.identifier }}_teaching_alias on {{ this }} (workspace_id, alias_message_id)
            where alias_message_id is not null and is_under_alias is null and {{ is_current() }};
            create index {{ this.identifier }}_under_alias on {{ this }} (workspace_id, alias_message_id)
            where is_under_alias and {{ is_current() }};
        end if;
        -- without them, no event has a second id
        if to_regclass('{{ this.schema }}.{{ this.identifier }}_teaching_alias') is not null then
            perform app.assign_events_under_alias('{{ this }}', {{ batch_id() }}, {{ var('recompute') }});
        end if;
    end
    $aliases$;
{%- endmacro %}


{# Whether this build computes events under an alias again. #}
{% macro recomputes_events_under_alias() -%}
    {#- a unit test has no relation -#}
    {%- if not execute or model.resource_type == 'unit_test' or not (var('recompute') and is_incremental()) -%} {{ return(false) }} {%- endif -%}
    {{ return(run_query(
        'select exists (select 1 from ' ~ this ~ ' where is_under_alias and ' ~ is_current() ~ ')'
    ).rows[0][0]) }}
{%- endmacro %}


{#
    The message id of a new event. A recomputation begins with the message to which an event under an alias belongs already, so that it
    writes differences only.
#}
{% macro assigned_message_id(events) -%}
    {%- if recomputes_events_under_alias() and is_distributed() -%}
    coalesce(assigned_events.message_id, {{ events }}.message_id)
    {%- elif recomputes_events_under_alias() -%}
    case
        when {{ events }}.alias_message_id = {{ events }}.message_id
            then coalesce(
                (
                    select existing.message_id from {{ this }} as existing
                    where
                        existing.workspace_id = {{ events }}.workspace_id
                        and existing.event_id = {{ events }}.event_id
                        and existing.is_under_alias
                        and {{ is_current('existing') }}
                ),
                {{ events }}.message_id
            )
        else {{ events }}.message_id
    end
    {%- else -%}
    {{ events }}.message_id
    {%- endif -%}
{%- endmacro %}


{# The message id that an event was received with. #}
{% macro received_message_id(events) -%}
    case when {{ events }}.is_under_alias then {{ events }}.alias_message_id else {{ events }}.message_id end
{%- endmacro %}


{# On Citus, the join by which assigned_message_id() finds that message. It has no correlated subquery. #}
{% macro join_assigned_events(events) -%}
    {%- if is_distributed() and recomputes_events_under_alias() %}
left join (
    select
        workspace_id,
        event_id,
        message_id
    from {{ this }}
    where is_under_alias and {{ is_current() }}
) as assigned_events
    on
        {{ events }}.workspace_id = assigned_events.workspace_id
        and {{ events }}.event_id = assigned_events.event_id
        and {{ events }}.alias_message_id = {{ events }}.message_id
    {%- endif %}
{%- endmacro %}
