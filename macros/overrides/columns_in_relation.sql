{#
    Overrides dbt-postgres's macro: the columns come from the catalog, not from the information schema, which takes three times as long
    and is read for the inputs of each unit test. And the type of an array is that of its elements with brackets, text[]: the
    information schema says ARRAY, and a unit test whose input has such a column casts a null to it, a syntax error.

    Lengths and precisions are those of the information schema.
#}
{% macro postgres__get_columns_in_relation(relation) -%}
    {%- call statement('get_columns_in_relation', fetch_result=True) %}
        select
            attname as column_name,
            format_type(case when typtype = 'd' then typbasetype else atttypid end, null) as data_type,
            information_schema._pg_char_max_length(atttypid, atttypmod) as character_maximum_length,
            information_schema._pg_numeric_precision(atttypid, atttypmod) as numeric_precision,
            information_schema._pg_numeric_scale(atttypid, atttypmod) as numeric_scale
        from pg_attribute
        inner join pg_type on pg_type.oid = atttypid
        where attrelid = (
            select pg_class.oid
            from pg_class
            where
                relname = '{{ relation.identifier }}'
                and {% if relation.schema %}relnamespace = to_regnamespace('{{ adapter.quote(relation.schema) }}')
                {%- else %}relnamespace = pg_my_temp_schema(){% endif %}
        ) and attnum > 0 and not attisdropped
        order by attnum
    {% endcall -%}
    {{ return(sql_convert_columns_in_relation(load_result('get_columns_in_relation').table)) }}
{%- endmacro %}
