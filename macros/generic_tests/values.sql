{# A key's part: neither null nor ''. #}
{% test not_empty(model, column_name) %}
    select {{ column_name }}
    from {{ model }}
    where coalesce({{ column_name }}, '') = ''
{% endtest %}


{# Each chain's expressions rise from left to right: [clicked, opened, delivered, sent]. #}
{% test counts_nest(model, chains) %}
    select *
    from {{ model }}
    where
        {%- for chain in chains %}
        {%- set outer_loop = loop %}
        {%- for expression in chain[1:] %}
        {{ 'or ' if not (outer_loop.first and loop.first) }}{{ chain[loop.index0] }} > {{ expression }}
        {%- endfor %}
        {%- endfor %}
{% endtest %}
