{#
    A rollup: counts of the messages of each cell (columns, which are the model's unique_key). Nothing is counted again: to what stands, the
    versions of messages opened since the model last looked are added and those closed since are taken off, so that a run
    costs what is new, however large the cells are, and a message that moved leaves its old cell.

    `counts` is a list of [name, condition on the message]; the first one says whether the cell still has anything in it.
    `condition` says which messages are counted at all. `expressions`: columns of the cell that the messages do not have.
    `along` is the cell's time: a first build lays the cells down in its order, as the nights do after it, so that a window is
    a stretch of the table. Otherwise each of its rows is on a page of its own.
#}
{% macro incremental_rollup(cell, counts, along, condition='is_sent', expressions={}) -%}
{%- set adds = is_incremental_run() -%}
with messages as not materialized (
    {{ counted_versions(ref('fct_messages'), condition) | indent }}
),

changed as (
    select
        {%- for column in cell %}
        {% if column in expressions %}{{ expressions[column] }} as {% endif %}{{ column }},
        {%- endfor %}
        {%- for name, counts_when in counts %}
        {%- if counts_when == 'true' %}
        sum(change)::int as {{ name }}
        {%- else %}
        coalesce(sum(change) filter (where {{ counts_when }}), 0)::int as {{ name }}
        {%- endif %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from messages
    group by {{ range(1, cell | length + 1) | join(', ') }}
),

{% if adds -%}
standing as (
    select * from {{ this }}
    where {{ is_current() }}
),

counted as (
    select
        {{ cell | join(',\n        ') }},
        {%- for name, _ in counts %}
        -- a count that is newer than the cell is not known there, before a recomputation
        changed.{{ name }} + case when standing.valid_to is null then 0 else standing.{{ name }} end as {{ name }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from changed
    left join standing using ({{ cell | join(', ') }})
)
{%- else -%}
counted as (
    select * from changed
)
{%- endif %}

select
    *,
    {{ batch_id() }}::bigint as valid_from,
    {{ valid_to_or_tombstone(counts[0][0] ~ ' = 0') }} as valid_to
from counted
{%- if not adds %}
order by workspace_id, {{ along }}, campaign_id
{%- endif %}
{%- endmacro %}


{#
    Versions of a fact with what each changes in a count: 1 for one that stands, -1 for one that was closed since the model
    last looked and had been counted by then. One that was opened and closed since is neither.
#}
{% macro counted_versions(relation, condition) -%}
    {%- set adds = is_incremental_run() -%}
    {%- set since = watermark() if adds else 0 -%}
    select
        *,
        1 as change
    from {{ relation }}
    where {{ condition }} and {{ is_current() }}
    {%- if adds %} and valid_from > {{ since }}
    union all
    select
        *,
        -1 as change
    from {{ relation }}
    where {{ condition }} and valid_to > {{ since }} and valid_to < {{ open_ended() }} and valid_from <= {{ since }}
    {%- endif %}
{%- endmacro %}
