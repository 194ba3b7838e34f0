{#
    Conditions for the rows of a relation by workspace_id and another id, each of which is true for about half of the rows or for few:
    a first build takes them as branches of a UNION ALL, which PostgreSQL can run in parallel. Together they are true for each row
    exactly once, wherever the middle is, because neither id is null. The planner knows how many rows of a workspace there are, which
    it does not of a comparison of both ids at once.

    The middle is that of about a thousand pages. Only `true` if the relation is empty, outside of a build, and in a unit test, which has
    no relation.
#}
{% macro ranges_of_workspaces(relation, id) -%}
    {%- if not is_recorded_build() or model.resource_type == 'unit_test' -%} {{ return(['true']) }} {%- endif -%}
    {%- set middle = run_query(
        'select workspace_id, ' ~ id ~ ' from ('
        ~ 'select workspace_id, ' ~ id ~ ', ntile(2) over (order by workspace_id, ' ~ id ~ ') as half'
        ~ ' from ' ~ relation ~ ' tablesample system ('
        ~ "least(100, 100000 * current_setting('block_size')::float8"
        ~ ' / greatest(pg_relation_size(' ~ sql_literal(relation | string) ~ '), 1))'
        ~ ') where ' ~ is_current()
        ~ ') as sample where half = 2 order by workspace_id, ' ~ id ~ ' limit 1'
    ).rows -%}
    {%- if not middle -%} {{ return(['true']) }} {%- endif -%}
    {%- set workspace = sql_literal(middle[0][0]) -%}
    {%- set value = sql_literal(middle[0][1]) -%}
    {{ return([
        'workspace_id = ' ~ workspace ~ ' and ' ~ id ~ ' < ' ~ value,
        'workspace_id = ' ~ workspace ~ ' and ' ~ id ~ ' >= ' ~ value,
        'workspace_id < ' ~ workspace,
        'workspace_id > ' ~ workspace,
    ]) }}
{%- endmacro %}
