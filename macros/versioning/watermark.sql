{#
    A model's watermark is the highest batch that it has itself taken in: it stands in app.model_runs, written in the
    model's own transaction. It goes into the SQL as a literal; with a subquery in its place Postgres scans everything.
#}

{# Whether this run adds to what is there, in place of computing it from the beginning. #}
{% macro is_incremental_run() -%}
    {{ return(is_incremental() and not var('recompute')) }}
{%- endmacro %}


{# The highest batch whose rows this model has taken in; 0 for none. #}
{% macro watermark() -%}
    {%- if not execute -%} {{ return(0) }} {%- endif -%}
    {%- set found = run_query(
        "select coalesce(max(batch_id), 0) from app.model_runs"
        ~ " where target = '" ~ warehouse_name() ~ "' and model = '" ~ this.identifier ~ "'"
    ) -%}
    {{ return(found.rows[0][0]) }}
{%- endmacro %}


{#
    The landing time after which events may be new to this model: how far fct_email_events had come with the landing by the
    batch that the model last took in. Transactions commit out of the order of their loaded_at, so a run looks again at the last
    `load_overlap`; a loaded_at in the future moves nothing past that build's start.
#}
{% macro loaded_after() -%}
    {%- if not execute -%} {{ return('-infinity') }} {%- endif -%}
    {%- set found = run_query(
        "select least(loaded_until, started_at) - interval '" ~ var('load_overlap') ~ "'"
        ~ " from app.model_runs where target = '" ~ warehouse_name() ~ "' and model = 'fct_email_events'"
        ~ " and loaded_until is not null and batch_id <= " ~ watermark() ~ " order by batch_id desc limit 1"
    ) -%}
    {{ return(found.rows[0][0] if found.rows else '-infinity') }}
{%- endmacro %}


{#
    The keys of an upstream fact whose rows were opened or closed since this model last looked: the new state of a key and
    the old, so a message that moved changes the cell that it left as well as the one it came to.
#}
{% macro changed_keys(relation, columns, condition='true') -%}
    {%- set since = watermark() %}
        select {{ columns | join(', ') }}
        from {{ relation }}
        where valid_from > {{ since }} and {{ condition }}
        union
        select {{ columns | join(', ') }}
        from {{ relation }}
        where valid_to > {{ since }} and valid_to < {{ open_ended() }} and {{ condition }}
{%- endmacro %}


{# valid_to of a computed row: standing, or nothing at all where the key is gone (a row that is true in no batch). #}
{% macro valid_to_or_tombstone(is_gone) -%}
    case when {{ is_gone }} then {{ batch_id() }} else {{ open_ended() }} end::bigint
{%- endmacro %}


{#
    The standing rows of a fact for each row of `of`, looked up key by key (which begins with the fact's own): for a join on true.
    `offset 0` keeps the planner from anything else, so that a run costs what is new, whatever it thinks of how much that is.
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
