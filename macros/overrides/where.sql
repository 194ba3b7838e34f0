{#
    What a data test looks at (an override of dbt's own macro). `where: __current__`, which all tests of core have, is the
    rows that stand: one that was closed is of no publication to come, and must not keep one back.

    In a build it is those of them that were opened since the last publication: all others passed the tests before it, and a
    nightly run must not cost what is old. `dbt test`, and a build that recomputes, look at every row that stands.
#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if not where -%} {{ return(relation) }} {%- endif -%}
    {%- set standing = 'valid_to = ' ~ (open_ended() | trim) -%}
    {%- if where == '__current__' and flags.WHICH in ['build', 'retry'] and not var('recompute') -%}
        {%- set where = standing ~ ' and valid_from > ' ~ published_batch() -%}
    {%- elif where == '__current__' -%}
        {%- set where = standing -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') as tested') }}
{%- endmacro %}
