{#
    An override of dbt-postgres's: a table under a contract is made by `create table as`, in place of an empty one and an insert,
    because Postgres reads in parallel for the first only. Columns and types are those of the contract all the same
    (get_assert_columns_equivalent); our contracts have no constraints, which only the other way could make.
#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(sql) }}
        {%- if not temporary -%}
            {%- set sql = get_select_subquery(sql) -%}
        {%- endif -%}
    {%- endif -%}
    create {{ 'temporary' if temporary }} table {{ relation }} as (
        {{ sql }}
    );
{%- endmacro %}
