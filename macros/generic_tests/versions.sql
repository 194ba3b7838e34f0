{# No two standing rows have the model's key. #}
{% test unique_standing_key(model) -%}
    {%- set key = graph_key(model) %}
    select {{ key | join(', ') }}
    from {{ model }}
    where valid_to = {{ still_standing() }}
    group by {{ key | join(', ') }}
    having count(*) > 1
{%- endtest %}


{# At no batch are two rows of a key true, and no row ends before it begins. #}
{% test one_version_at_a_time(model) -%}
    {%- set key = graph_key(model) %}
    with followed as (
        select
            valid_from,
            valid_to,
            lead(valid_from) over (partition by {{ key | join(', ') }} order by valid_from, valid_to) as next_valid_from
        from {{ model }}
        -- a key with one version cannot overlap: those with more have at least one that is closed
        where ({{ key | join(', ') }}) in (
            select {{ key | join(', ') }} from {{ model }} where valid_to < {{ still_standing() }}
        )
    )

    select *
    from followed
    where valid_from > valid_to or next_valid_from < valid_to
{%- endtest %}


{# The unique_key of the model that a generic test is given as a relation. #}
{% macro graph_key(relation) -%}
    {%- for node in (graph.nodes.values() if execute else []) -%}
        {%- if node.resource_type == 'model' and node.alias == relation.identifier and node.schema == relation.schema -%}
            {{ return(node.config.unique_key) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return(['']) }}
{%- endmacro %}
