{#
    Tests of core see the standing rows (`where` in dbt_project.yml): a row that was closed is of no publication to come, and
    must not keep one back. These two look at the versions themselves.
#}

{# No two standing rows have the model's key. #}
{% test unique_current_key(model) -%}
    {%- set key = tested_node(model).config.unique_key %}
    select {{ key | join(', ') }}
    from {{ model }}
    group by {{ key | join(', ') }}
    having count(*) > 1
{%- endtest %}


{# At no batch are two rows of a key true, and no row ends before it begins. #}
{% test one_version_at_a_time(model) -%}
    {%- set columns = tested_node(model).config.unique_key %}
    {%- set key = columns | join(', ') %}
    {%- set versions = tested_node(model).relation_name %}
    with closed as (
        select
            {{ key }},
            valid_from,
            valid_to
        from {{ versions }}
        where valid_to < {{ open_ended() }}
    ),

    changed_keys as (
        select distinct {{ key }} from closed
    ),

    -- a key with one version cannot overlap: of one with more, all but one are closed, or unique_current_key fails
    versions as (
        select * from closed
        union all
        select
            {{ key }},
            standing.valid_from,
            standing.valid_to
        from changed_keys
        inner join {{ lateral_lookup(versions, columns, of='changed_keys') }} as standing using ({{ key }})
    ),

    followed as (
        select
            valid_from,
            valid_to,
            lead(valid_from) over (partition by {{ key }} order by valid_from, valid_to) as next_valid_from
        from versions
    )

    select *
    from followed
    where valid_from > valid_to or next_valid_from < valid_to
{%- endtest %}


{# The node of the model that a generic test is given, as a relation or, under a `where`, as a subquery of it. #}
{% macro tested_node(model) -%}
    {%- for node in (graph.nodes.values() if execute else []) -%}
        {%- if node.resource_type == 'model' and node.relation_name in (model | string) -%}
            {{ return(node) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return({'config': {'unique_key': []}, 'relation_name': model}) }}
{%- endmacro %}
