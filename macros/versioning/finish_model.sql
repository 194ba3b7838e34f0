{#
    Post-hook of every versioned model, in its transaction: makes the table's indexes and row-level security once, and records the
    run. It asks the catalog, not dbt, whether they exist, so it is right however the table was made. Once, because ALTER TABLE
    would block the readers in every build.
#}
{% macro finish_versioned() -%}
    {%- set key = config.get('unique_key') -%}
    {%- set name = this.identifier -%}
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
    {{ analyze_if_changed(this) }}
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
    from (select count(*) as row_count from {{ this }} where valid_from = {{ batch_id() }}) as inserted
    cross join (select count(*) as row_count from {{ this }} where valid_to = {{ batch_id() }}) as expired;
{%- endmacro %}
