{#
    Overrides dbt-postgres's macro, which each incremental model reads in each build: the grants of one table from its own row in the
    catalog. information_schema.role_table_grants takes twenty times as long, because it lists those of all tables first.
#}
{% macro postgres__get_show_grant_sql(relation) -%}
    select
        case when grants.grantee = 0 then 'PUBLIC' else pg_get_userbyid(grants.grantee) end as grantee,
        grants.privilege_type
    from pg_class
    cross join lateral aclexplode(pg_class.relacl) as grants
    where
        pg_class.oid = to_regclass({{ sql_literal(relation.include(database=false) | string) }})
        and pg_get_userbyid(grants.grantor) = current_role
        and grants.grantee <> grants.grantor
{%- endmacro %}
