{#
    Overrides dbt-postgres's macro: a table with a contract is made by CREATE TABLE AS. dbt makes an empty table and an INSERT, for
    which PostgreSQL does not read in parallel. get_assert_columns_equivalent() still checks columns and types. Our contracts have
    no constraints, which only dbt's way can make.
#}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
    {%- set is_of_core = config.get('contract').enforced and config.get('incremental_strategy') == 'versioned' -%}
    {%- if is_of_core and not temporary and is_distributed() -%} {{ return(create_distributed_table_as(relation, sql)) }} {%- endif -%}
    {#- on Citus, the comparison of a model of core would run all of its query -#}
    {%- if config.get('contract').enforced and not (is_of_core and is_distributed()) -%}
        {{ get_assert_columns_equivalent(sql) }}
        {%- if not temporary -%}
            {%- set sql = get_select_subquery(sql) -%}
        {%- endif -%}
    {%- endif -%}
    create {{ 'temporary' if temporary }} table {{ relation }} as (
        {{ sql }}
    );
{%- endmacro %}
