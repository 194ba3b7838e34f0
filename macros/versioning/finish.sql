{#
    Post-hook of every versioned model, inside its transaction: what the table needs once (indexes, row-level security)
    and what it has taken in. Asked of the catalogue, not of dbt, so that it is right however the table came to be; and
    done once, because `alter table` would stop the readers at every build.
#}
{% macro finish_versioned() -%}
    {%- set key = config.get('unique_key') -%}
    {%- set name = this.identifier -%}
    do $finish$
    begin
        if to_regclass('{{ this.schema }}.{{ name }}_current') is null then
            create unique index {{ name }}_current on {{ this }} ({{ key | join(', ') }})
            where {{ is_current() }};
            -- those of this build are all there are, and need no index: who looks for what is new has seen them
            create index {{ name }}_inserted on {{ this }} (valid_from) where valid_from > {{ batch_id() }};
            create index {{ name }}_expired on {{ this }} (valid_to) where valid_to < {{ open_ended() }};
            -- the models after this one are planned before the server would look at it by itself
            analyze {{ this }};
        end if;
        if not (select relrowsecurity from pg_class where oid = '{{ this }}'::regclass) then
            {% if 'workspace_id' in model.columns -%}
            {{ isolate_tenants(this) }}
            {%- else -%}
            {{ let_everybody_read(this) }}
            {%- endif %}
        end if;
    end
    $finish$;
    insert into app.model_runs (
        target, model, batch_id, loaded_until, rows_inserted, rows_expired, started_at
    )
    select
        '{{ warehouse_name() }}',
        '{{ name }}',
        {{ batch_id() }},
        {% if name == 'fct_email_events' %}
        greatest(
            max(loaded_at),
            (
                select max(loaded_until) from app.model_runs
                where target = '{{ warehouse_name() }}' and model = '{{ name }}'
            )
        ),
        {% else %}
        null,
        {% endif %}
        count(*),
        (select count(*) from {{ this }} where valid_to = {{ batch_id() }}),
        now()
    from {{ this }}
    where valid_from = {{ batch_id() }};
{%- endmacro %}
