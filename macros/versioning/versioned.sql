{#
    The incremental strategy `versioned`. Of the keys that the model gives, rows that differ from the standing one are
    closed with this batch and their new state is inserted; equal rows are not touched. A given row that is true in no
    batch (valid_to = valid_from) only closes. A model that gives every key there is (meta.full_snapshot, or any model
    in a recomputation) also closes the standing keys that it no longer gives. One that has looked its keys up, and gives none
    that stands (meta.insert_only, unless it is recomputed), closes nothing and is not looked up a second time; were it wrong, the
    unique index of what stands would refuse it.

    Written with a materialised CTE over the temporary table and an anti-join by LEFT JOIN, the form that Citus runs too.
#}
{% macro get_incremental_versioned_sql(arg_dict) -%}
    {%- set target_table = arg_dict['target_relation'] -%}
    {%- set given_table = arg_dict['temp_relation'] -%}
    {%- set key = arg_dict['unique_key'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='name') | list -%}
    {%- set insert_only = config.get('meta', {}).get('insert_only') and not var('recompute') -%}
    {%- set values = columns | reject('in', key + ['valid_from', 'valid_to']) | list -%}
    {%- set same_key %}
        {%- for column in key %}
            standing.{{ column }} = given.{{ column }} and
        {%- endfor %}
            {{ is_current('standing') }}
    {%- endset -%}
    {#- what a recomputation cannot know any more, it neither replaces nor closes -#}
    {%- set and_is_known = ' and ' ~ config.get('meta', {})['recompute_scope'] if 'recompute_scope' in config.get('meta', {}) else '' -%}

    {% if not insert_only -%}
    with given as materialized (
        select * from {{ given_table }}
    )

    update {{ target_table }} as standing
    set valid_to = {{ batch_id() }}
    from given
    where
        {{ same_key }}
        and (
            given.valid_to = given.valid_from
            {%- if values %}
            or ({% for column in values %}standing.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
            is distinct from ({% for column in values %}given.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
            {%- endif %}
        )
        {{- and_is_known if var('recompute') }};
    {% endif %}

    {% if var('recompute') or config.get('meta', {}).get('full_snapshot') %}
    with given as materialized (
        select * from {{ given_table }}
    ),

    gone as (
        select {% for column in key %}standing.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
        from {{ target_table }} as standing
        left join given on {% for column in key %}standing.{{ column }} = given.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
        where
            {{ is_current('standing') }}
            and given.{{ key[0] }} is null
            {{- and_is_known }}
    )

    update {{ target_table }} as standing
    set valid_to = {{ batch_id() }}
    from gone as given
    where {{ same_key }};
    {% endif %}

    with given as materialized (
        select * from {{ given_table }}
    )

    insert into {{ target_table }} ({% for column in columns %}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
    select {% for column in columns %}given.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %}
    from given
    {%- if not insert_only %}
    left join {{ target_table }} as standing
        on {{ same_key }}
    {%- endif %}
    where
        {{ is_current('given') }}
        {%- if not insert_only %}
        and standing.{{ key[0] }} is null
        {%- endif %}
{%- endmacro %}
