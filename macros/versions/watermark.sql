{#
    A model's watermark is the highest batch that it has itself taken in: it stands in app.model_batches, written in the
    model's own transaction. It goes into the SQL as a literal; with a subquery in its place Postgres scans everything.
#}

{# Whether this run adds to what is there, in place of computing it from the beginning. #}
{% macro adds_to_what_is_there() -%}
    {{ return(is_incremental() and not var('recompute')) }}
{%- endmacro %}


{# The highest batch whose rows this model has taken in; 0 for none. #}
{% macro watermark() -%}
    {%- if not execute -%} {{ return(0) }} {%- endif -%}
    {%- set found = run_query(
        "select coalesce(max(batch_id), 0) from app.model_batches"
        ~ " where target = '" ~ warehouse_name() ~ "' and model = '" ~ this.identifier ~ "'"
    ) -%}
    {{ return(found.rows[0][0]) }}
{%- endmacro %}


{#
    The landing time after which events may be new to this model: how far fct_email_events had come with the landing by the
    batch that the model last took in. Transactions commit out of the order of their loaded_at, so a run looks again at the last
    `landing_overlap`; a loaded_at in the future moves nothing past that build's start.
#}
{% macro landed_after() -%}
    {%- if not execute -%} {{ return('-infinity') }} {%- endif -%}
    {%- set found = run_query(
        "select least(landed_through, started_at) - interval '" ~ var('landing_overlap') ~ "'"
        ~ " from app.model_batches where target = '" ~ warehouse_name() ~ "' and model = 'fct_email_events'"
        ~ " and landed_through is not null and batch_id <= " ~ watermark() ~ " order by batch_id desc limit 1"
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
        where valid_to > {{ since }} and valid_to < {{ still_standing() }} and {{ condition }}
{%- endmacro %}


{# valid_to of a computed row: standing, or nothing at all where the key is gone (a row that is true in no batch). #}
{% macro valid_to_unless(is_gone) -%}
    case when {{ is_gone }} then {{ batch_id() }} else {{ still_standing() }} end::bigint
{%- endmacro %}


{#
    The standing rows of a fact for each row of `of`, looked up key by key (which begins with the fact's own): for a join on true.
    `offset 0` keeps the planner from anything else, so that a run costs what is new, whatever it thinks of how much that is.
#}
{% macro looked_up(relation, key, of) -%}
    lateral (
        select * from {{ relation }} as looked_up
        where
            {%- for column in key %}
            looked_up.{{ column }} = {{ of }}.{{ column }} and
            {%- endfor %}
            looked_up.valid_to = {{ still_standing() }}
        offset 0
    )
{%- endmacro %}
