{#
    Overrides dbt-postgres's macro: a table with a contract is made by CREATE TABLE AS. dbt makes an empty table and an INSERT, for
    which PostgreSQL does not read in parallel. get_assert_columns_equivalent() still checks columns and types. Our contracts have
    no constraints, which only dbt's way can make.
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
