{#
    Data tests of core see current rows only (`where: __current__` in dbt_project.yml): an expired row is in no later publication
    and must not prevent one. This test is about the versions themselves.

    Two versions of a key are never visible in the same batch, and no version ends before it begins. So no two current rows have one
    key; those are found among the rows that the other tests see, and versions that overlap among the expired ones.

    While the unique index of the current rows is there, PostgreSQL keeps a second one out, and the rows are not grouped once more: in
    a first build that would be all of them.
#}
{% test one_version_at_a_time(model) -%}
    {%- set columns = tested_node(model).config.unique_key %}
    {%- set key = columns | join(', ') %}
    {%- set relation = tested_node(model).relation_name %}
    with keys_with_two_current_rows as (
        select
            {{ key }},
            'two current rows' as problem
        from {{ model }}
        where not {{ value_on_nodes(has_unique_current_rows(relation, columns)) }}
        group by {{ key }}
        having count(*) > 1
    ),

    expired_versions as (
        select
            {{ key }},
            valid_from,
            valid_to
        from {{ relation }}
        where valid_to < {{ open_ended() }}
    ),

    changed_keys as (
        select distinct {{ key }} from expired_versions
    ),

    -- a key with one version has no overlap, and of several versions all but one are expired
    versions as (
        select * from expired_versions
        union all
        select
            {{ key }},
            current_versions.valid_from,
            current_versions.valid_to
        from changed_keys
        inner join {{ lateral_lookup(relation, columns, of='changed_keys') }} as current_versions using ({{ key }})
    ),

    with_next_version as (
        select
            {{ key }},
            valid_from,
            valid_to,
            lead(valid_from) over (partition by {{ key }} order by valid_from, valid_to) as next_valid_from
        from versions
    )

    select * from keys_with_two_current_rows
    union all
    select
        {{ key }},
        'versions overlap' as problem
    from with_next_version
    where valid_from > valid_to or next_valid_from < valid_to
{%- endtest %}


{# Whether the unique index of the current rows, which finish_versioned() makes, is there and is one of this key: a subquery, read once. #}
{% macro has_unique_current_rows(relation, columns) -%}
    (
        select exists (
            select
            from pg_index
            where
                indrelid = '{{ relation }}'::regclass
                and indisunique
                and indisvalid
                and pg_get_expr(indpred, indrelid) ~ {{ sql_literal("^\(valid_to = '?" ~ open_ended() | trim ~ "'?(::bigint)?\)$") }}
                and (
                    select array_agg(attname::text order by attname::text collate "C")
                    from pg_attribute
                    where attrelid = indrelid and attnum = any(indkey)
                ) = {{ sql_array(columns | sort) }}
        )
    )
{%- endmacro %}


{# The node of a tested model or seed. dbt passes a generic test the relation or, if there is a `where`, a subquery of it. #}
{% macro tested_node(model) -%}
    {%- for node in (graph.nodes.values() if execute else []) -%}
        {%- if node.resource_type in ['model', 'seed'] and node.relation_name and node.relation_name in (model | string) -%}
            {{ return(node) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return({'config': {'unique_key': []}, 'relation_name': model, 'name': model | string}) }}
{%- endmacro %}
