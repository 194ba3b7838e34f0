{#
    Overrides dbt's macro, which writes the comments of each table and of its columns in each build, 70 statements of DDL, and reads its
    columns twice for that. Only comments that differ from the catalog's are written.
#}
{% macro postgres__persist_docs(relation, model, for_relation, for_columns) -%}
    {%- set of_relation = for_relation and config.persist_relation_docs() and model.description -%}
    {%- set of_columns = for_columns and config.persist_column_docs() and model.columns -%}
    {%- if not of_relation and not of_columns -%} {{ return('') }} {%- endif -%}
    {%- set comments = comments_of(relation, model.columns) -%}
    {%- if of_relation and model.description != comments.relation -%}
        {%- do run_query(alter_relation_comment(relation, model.description)) -%}
    {%- endif -%}
    {%- if of_columns -%}
        {%- set changed = {} -%}
        {%- for name, column in validate_doc_columns(relation, model.columns, comments.columns | list).items() -%}
            {%- if column.description != comments.columns.get(name) -%} {%- do changed.update({name: column}) -%} {%- endif -%}
        {%- endfor -%}
        {%- if changed -%} {%- do run_query(alter_column_comment(relation, changed)) -%} {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#
    The comments of a relation, and of its columns by name. Those of tables were read when the build began; one that was made since, or
    has got a column, is read again. So is a view, which is new.
#}
{% macro comments_of(relation, columns) -%}
    {%- set name = relation.schema ~ '.' ~ relation.identifier -%}
    {%- set comments = (kept('comments') or {}).get(name) -%}
    {%- if not relation.is_table or not comments or columns.keys() | reject('in', comments.columns) | list -%}
        {%- set comments = read_comments([relation.schema], relation.identifier)[name] -%}
    {%- endif -%}
    {{ return(comments) }}
{%- endmacro %}


{# The comments of all tables in these schemas, or of one relation in one of them, by schema.name. One text is all of dbt's result. #}
{% macro read_comments(schemas, identifier=none) -%}
    {%- set query -%}
        select coalesce(jsonb_object_agg(schemas.nspname || '.' || relations.relname, jsonb_build_object(
            'relation', coalesce(obj_description(relations.oid, 'pg_class'), ''),
            'columns', coalesce((
                select jsonb_object_agg(columns.attname, coalesce(col_description(relations.oid, columns.attnum), ''))
                from pg_attribute as columns
                where columns.attrelid = relations.oid and columns.attnum > 0 and not columns.attisdropped
            ), '{}')
        )), '{}')::text
        from pg_class as relations
        inner join pg_namespace as schemas on relations.relnamespace = schemas.oid
        where
            schemas.nspname = any({{ sql_array(schemas) }})
            and {% if identifier is none %}relations.relkind in ('r', 'p'){% else %}relations.relname = {{ sql_literal(identifier) }}{% endif %}
    {%- endset -%}
    {{ return(fromjson(run_query(query).rows[0][0])) }}
{%- endmacro %}
