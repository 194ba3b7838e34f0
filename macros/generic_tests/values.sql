{# A part of a key is neither null nor ''. #}
{% test not_empty(model, column_name) %}
    select {{ column_name }}
    from {{ model }}
    where coalesce({{ column_name }}, '') = ''
{% endtest %}


{# In each chain, no expression is greater than the next one: [clicked, opened, delivered, sent]. #}
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
