{#
    A model's watermark is the highest batch of its parents' rows that it has read. It is in app.model_runs, written in the model's
    own transaction. Here it becomes a literal of the SQL: with a subquery in its place PostgreSQL scans the whole table.
#}

{# Whether this run adds to the table, in place of computing it from nothing. #}
{% macro is_incremental_run() -%}
    {{ return(is_incremental() and not var('recompute')) }}
{%- endmacro %}


{# The highest batch whose rows this model has read; 0 before its first run. #}
{% macro watermark() -%}
    {%- if not execute -%} {{ return(0) }} {%- endif -%}
    {%- set watermarks = kept('watermarks') -%}
    {%- if watermarks is not none -%} {{ return(watermarks.get(this.identifier, 0)) }} {%- endif -%}
    {%- set result = run_query(
        "select coalesce(max(batch_id), 0) from app.model_runs"
        ~ " where target = '" ~ warehouse_name() ~ "' and model = '" ~ this.identifier ~ "'"
    ) -%}
    {{ return(result.rows[0][0]) }}
{%- endmacro %}


{#
    The condition that a loaded row is new to this model: it is in the state of the raw logs that this build reads, and was not in
    the one that the model's last run has read. The states are snapshots of PostgreSQL, so the condition holds for every row exactly
    once, whatever its loaded_at says, however long its transaction lasted, and whatever is loaded during the build. For a model
    with meta.reads_raw.
#}
{% macro is_newly_loaded() -%}
    {%- if not execute -%} {{ return('true') }} {%- endif -%}
    {%- set states = run_query(
        "select since::text, until::text from app.raw_states_of_run('"
        ~ warehouse_name() ~ "', '" ~ this.identifier ~ "', " ~ batch_id() ~ ')'
    ).rows[0] -%}
    {%- set conditions = [] -%}
    {%- if states[1] is not none -%}
        {%- do conditions.append('loaded_xid ' ~ is_in_snapshot(states[1])) -%}
    {%- endif -%}
    {%- if states[0] is not none and is_incremental_run() -%}
        {%- do conditions.append('loaded_xid ' ~ is_not_in_snapshot(states[0])) -%}
    {%- endif -%}
    {{ return(conditions | join(' and ') or 'true') }}
{%- endmacro %}


{# Whether this build reads all raw rows again: in another database system than the model's last run, for example after a restore. #}
{% macro reads_everything() -%}
    {%- if not execute -%} {{ return(false) }} {%- endif -%}
    {{ return(run_query(
        "select since is null from app.raw_states_of_run('" ~ warehouse_name() ~ "', '" ~ this.identifier ~ "', " ~ batch_id() ~ ')'
    ).rows[0][0]) }}
{%- endmacro %}


{#
    That a transaction is visible in a snapshot (xmin:xmax:transactions that were open). The range is a literal, for the index; the
    function is only called if transactions were open.
#}
{% macro is_in_snapshot(snapshot) -%}
    {%- set xmin, xmax, open_transactions = snapshot.split(':') -%}
    < '{{ xmax }}'::xid8
    {%- if open_transactions %} and pg_visible_in_snapshot(loaded_xid, '{{ snapshot }}'::pg_snapshot){% endif %}
{%- endmacro %}


{# That it is not. #}
{% macro is_not_in_snapshot(snapshot) -%}
    {%- set xmin, xmax, open_transactions = snapshot.split(':') -%}
    >= '{{ xmin if open_transactions else xmax }}'::xid8
    {%- if open_transactions %} and not pg_visible_in_snapshot(loaded_xid, '{{ snapshot }}'::pg_snapshot){% endif %}
{%- endmacro %}


{# Whether the model's table has no row at all. #}
{% macro is_empty() -%}
    {{ return(not execute or not run_query('select exists (select 1 from ' ~ this ~ ')').rows[0][0]) }}
{%- endmacro %}


{#
    The keys of a parent's rows that were inserted or expired since this model's last run: the new state of a key and the old. A
    message that moved changes the row that it left, too.
#}
{% macro changed_keys(relation, columns, condition='true') -%}
    {%- set watermark = watermark() %}
        select {{ columns | join(', ') }}
        from {{ relation }}
        where valid_from > {{ watermark }} and {{ condition }}
        union
        select {{ columns | join(', ') }}
        from {{ relation }}
        where valid_to > {{ watermark }} and valid_to < {{ open_ended() }} and {{ condition }}
{%- endmacro %}


{# Whether a parent's rows were inserted or expired since this model's last run. Asked when the model is compiled. #}
{% macro has_changed_rows(relation) -%}
    {%- if not execute -%} {{ return(false) }} {%- endif -%}
    {{ return(run_query(
        'select exists (' ~ changed_keys(relation, ['valid_from']) ~ ')'
    ).rows[0][0]) }}
{%- endmacro %}


{# valid_to of a computed row: open-ended, or that of a tombstone, which is visible in no batch. #}
{% macro valid_to_or_tombstone(is_deleted) -%}
    case when {{ is_deleted }} then {{ batch_id() }} else {{ open_ended() }} end::bigint
{%- endmacro %}


{#
    The current rows of a fact for each row of `of`, looked up by key (which begins with the fact's own): for a join on true.
    `offset 0` leaves the planner no other way, so that a run costs what is new, however much of it the planner expects.
#}
{% macro lateral_lookup(relation, key, of) -%}
    {%- if is_distributed() -%}
    {#- the join's own condition has the key -#}
    (select * from {{ relation }} where {{ is_current() }})
    {%- else -%}
    lateral (
        select * from {{ relation }} as lateral_lookup
        where
            {%- for column in key %}
            lateral_lookup.{{ column }} = {{ of }}.{{ column }} and
            {%- endfor %}
            {{ is_current('lateral_lookup') }}
        offset 0
    )
    {%- endif -%}
{%- endmacro %}


{#
    The last date that a versioned table has of a workspace; null if it has none. It has an index by workspace and date, of which
    PostgreSQL reads one entry; a grouped subquery would read all rows of the workspace.
#}
{% macro last_date_of(relation, date, workspace_id, condition='true') -%}
    (
        select max(dated_rows.{{ date }})
        from {{ relation }} as dated_rows
        where {{ is_current('dated_rows') }} and dated_rows.workspace_id = {{ workspace_id }} and {{ condition }}
    )
{%- endmacro %}
