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
    {%- set result = run_query(
        "select coalesce(max(batch_id), 0) from app.model_runs"
        ~ " where target = '" ~ warehouse_name() ~ "' and model = '" ~ this.identifier ~ "'"
    ) -%}
    {{ return(result.rows[0][0]) }}
{%- endmacro %}


{#
    The loaded_at after which events can be new to this model: what fct_email_events had read up to this model's last run, less the
    variable `load_overlap`, because transactions do not commit in the order of their loaded_at. A loaded_at in the future moves
    nothing past that run's start.
#}
{% macro loaded_after() -%}
    {%- if not execute -%} {{ return('-infinity') }} {%- endif -%}
    {%- set result = run_query(
        "select least(loaded_until, started_at) - interval '" ~ var('load_overlap') ~ "'"
        ~ " from app.model_runs where target = '" ~ warehouse_name() ~ "' and model = 'fct_email_events'"
        ~ " and loaded_until is not null and batch_id <= " ~ watermark() ~ " order by batch_id desc limit 1"
    ) -%}
    {{ return(result.rows[0][0] if result.rows else '-infinity') }}
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


{# valid_to of a computed row: open-ended, or that of a tombstone, which is visible in no batch. #}
{% macro valid_to_or_tombstone(is_deleted) -%}
    case when {{ is_deleted }} then {{ batch_id() }} else {{ open_ended() }} end::bigint
{%- endmacro %}


{#
    The current rows of a fact for each row of `of`, looked up by key (which begins with the fact's own): for a join on true.
    `offset 0` leaves the planner no other way, so that a run costs what is new, however much of it the planner expects.
#}
{% macro lateral_lookup(relation, key, of) -%}
    lateral (
        select * from {{ relation }} as lateral_lookup
        where
            {%- for column in key %}
            lateral_lookup.{{ column }} = {{ of }}.{{ column }} and
            {%- endfor %}
            {{ is_current('lateral_lookup') }}
        offset 0
    )
{%- endmacro %}
