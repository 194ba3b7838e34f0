{#
    Data tests of core see current rows only (`where: __current__` in dbt_project.yml): an expired row is in no later publication
    and must not prevent one. These two tests are about the versions themselves.
#}

{# No two current rows have the model's key. #}
{% test unique_current_key(model) -%}
    {%- set key = tested_node(model).config.unique_key %}
    select {{ key | join(', ') }}
    from {{ model }}
    group by {{ key | join(', ') }}
    having count(*) > 1
{%- endtest %}


{# Two versions of a key are never visible in the same batch, and no version ends before it begins. #}
{% test one_version_at_a_time(model) -%}
    {%- set columns = tested_node(model).config.unique_key %}
    {%- set key = columns | join(', ') %}
    {%- set relation = tested_node(model).relation_name %}
    with expired_versions as (
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

    -- a key with one version has no overlap. Of several versions all but one are expired, or unique_current_key fails.
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
            valid_from,
            valid_to,
            lead(valid_from) over (partition by {{ key }} order by valid_from, valid_to) as next_valid_from
        from versions
    )

    select *
    from with_next_version
    where valid_from > valid_to or next_valid_from < valid_to
{%- endtest %}


{# The node of a tested model or seed. dbt passes a generic test the relation or, if there is a `where`, a subquery of it. #}
{% macro tested_node(model) -%}
    {%- for node in (graph.nodes.values() if execute else []) -%}
        {%- if node.resource_type in ['model', 'seed'] and node.relation_name and node.relation_name in (model | string) -%}
            {{ return(node) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return({'config': {'unique_key': []}, 'relation_name': model, 'name': model | string}) }}
{%- endmacro %}
