{#
    The rows that a data test reads (overrides dbt's macro). All tests of core have `where: __current__`: an expired row is in no
    later publication and must not prevent one.

    A build tests only the current rows inserted since the last publication: all others passed the tests then, so a nightly run
    costs what is new. `dbt test`, and a build with `recompute: true`, test every current row.
#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if not where -%} {{ return(relation) }} {%- endif -%}
    {%- if where == '__current__' -%}
        {%- set where = is_current() -%}
        {%- if flags.WHICH in ['build', 'retry'] and not var('recompute') -%}
            {%- set where = where ~ ' and valid_from > ' ~ published_batch() -%}
        {%- endif -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') as tested') }}
{%- endmacro %}
