{#
    Inserts the rows of a seed. dbt's own calls two macros for each value to write the same placeholder: a quarter of all calls of macros
    in a build.
#}
{% macro postgres__load_csv_rows(model, agate_table) %}
    {%- set columns = get_seed_column_quoted_csv(model, agate_table.column_names) -%}
    {%- set placeholders = '(' ~ (['%s'] * (agate_table.column_names | length)) | join(', ') ~ ')' -%}
    {%- set statements = [] -%}
    {%- for rows in agate_table.rows | batch(get_batch_size()) -%}
        {%- set values = [] -%}
        {%- for row in rows -%}
            {%- do values.extend(row) -%}
        {%- endfor -%}
        {%- set sql -%}
        insert into {{ this }} ({{ columns }}) values
        {{ ([placeholders] * (rows | length)) | join(',\n        ') }}
        {%- endset -%}
        {%- do adapter.add_query(sql, bindings=values, abridge_sql_log=True) -%}
        {%- do statements.append(sql) -%}
    {%- endfor -%}
    {{ return(statements | first if statements else '') }}
{% endmacro %}
