{#
    Post-hook of every versioned model, in its transaction: makes the table's indexes and row-level security once, and records the
    run. It asks the catalog, not dbt, whether they exist, so it is right however the table was made. Once, because ALTER TABLE
    would block the readers in every build.

    A statement that has made the table says how many rows it has, all of them inserted. meta.without_statistics: columns by which no
    query of ours selects, joins or groups. A new table has no statistics of them until autovacuum looks at it.
#}
{% macro finish_versioned() -%}
    {%- set key = config.get('unique_key') -%}
    {%- set name = this.identifier -%}
    {%- set rows = rows_of_new_table() -%}
    {%- set without_statistics = config.get('meta', {}).get('without_statistics') if execute else none -%}
    do $finish$
    begin
        if to_regclass('{{ this.schema }}.{{ name }}_current') is null then
            create unique index {{ name }}_current on {{ this }} ({{ key | join(', ') }})
            where {{ is_current() }};
            -- in the first build every row is new, so none is indexed: the models after it read the whole table anyway
            create index {{ name }}_inserted on {{ this }} (valid_from) where valid_from > {{ batch_id() }};
            create index {{ name }}_expired on {{ this }} (valid_to) where valid_to < {{ open_ended() }};
        end if;
        if not (select relrowsecurity from pg_class where oid = '{{ this }}'::regclass) then
            {% if 'workspace_id' in model.columns -%}
            {{ isolate_tenants(this) }}
            {%- else -%}
            {{ allow_public_read(this) }}
            {%- endif %}
        end if;
    end
    $finish$;
    -- no plan may depend on the statistics of a table that was empty or small before this run
    {% if rows is not none and without_statistics -%}
    analyze {{ this }} ({{ model.columns | reject('in', without_statistics) | join(', ') }});
    {%- else -%}
    {{ analyze_if_changed(this) }}
    {%- endif %}
    {% if execute and config.get('meta', {}).get('has_aliases') -%}
    {{ assign_events_under_alias() }}
    {%- endif %}
    insert into app.model_runs (
        target, model, batch_id, raw_batch_id, rows_inserted, rows_expired, started_at
    )
    select
        '{{ warehouse_name() }}',
        '{{ name }}',
        {{ batch_id() }},
        {% if execute and config.get('meta', {}).get('reads_raw') -%}
        app.raw_batch_of('{{ warehouse_name() }}', '{{ name }}', {{ batch_id() }}),
        {%- else -%}
        null,
        {%- endif %}
        inserted.row_count,
        expired.row_count,
        now()
    {% if rows is not none -%}
    from (values ({{ rows }})) as inserted (row_count)
    cross join (values (0)) as expired (row_count);
    {%- else -%}
    from (select count(*) as row_count from {{ this }} where valid_from = {{ batch_id() }}) as inserted
    cross join (select count(*) as row_count from {{ this }} where valid_to = {{ batch_id() }}) as expired;
    {%- endif %}
{%- endmacro %}


{# How many rows the table has that this run has made; none if it was there. Rows of a distributed table are inserted later. #}
{% macro rows_of_new_table() -%}
    {%- set main = load_result('main') if execute and not is_distributed() else none -%}
    {{ return(main.response.rows_affected if main and main.response.code == 'SELECT' else none) }}
{%- endmacro %}
