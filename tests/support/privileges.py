"""Every privilege that a role has in a database, read from the catalogues and written as a page of the documentation."""

from __future__ import annotations

import re
from collections import defaultdict

import psycopg

from api.embedded.postgres import LARGE_OBJECT_FUNCTIONS

ROLES = (
    "mailmart_api",
    "mailmart_intake",
    "mailmart_worker",
    "mailmart_analyst",
    "mailmart_workspace_analyst",
    "mailmart_owner",
    "PUBLIC",
)
Privilege = tuple[str, str, str, str]

# grantee, kind, schema, object, privilege; without what an owner has on its own objects
PRIVILEGES = """
    with objects as (
        select 'database' as kind, '' as schema, 'this database'::text as name, datdba as owner,
            coalesce(datacl, acldefault('d', datdba)) as acl
        from pg_database where datname = current_database()
        union all
        select 'schema', '', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))
        from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
        union all
        select
            case relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end,
            relnamespace::regnamespace::text, relname, relowner,
            coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
        from pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        union all
        select 'column', relnamespace::regnamespace::text, relname || '.' || attname, relowner, attacl
        from pg_attribute inner join pg_class on attrelid = pg_class.oid
        where attacl is not null
        union all
        select
            'function', pronamespace::regnamespace::text,
            proname::text || '(' || pg_get_function_identity_arguments(oid) || ')', proowner,
            coalesce(proacl, acldefault('f', proowner))
        from pg_proc
        union all
        select 'type', typnamespace::regnamespace::text, typname, typowner, coalesce(typacl, acldefault('T', typowner))
        from pg_type
        where typtype in ('e', 'd', 'r')
            or (typtype = 'c' and (select relkind from pg_class where pg_class.oid = typrelid) = 'c')
        union all
        select 'large object', '', 'owned by ' || lomowner::regrole, lomowner, coalesce(lomacl, acldefault('L', lomowner))
        from pg_largeobject_metadata
    )

    select
        case when entries.grantee = 0 then 'PUBLIC' else entries.grantee::regrole::text end,
        objects.kind,
        objects.schema,
        objects.name,
        lower(entries.privilege_type) || case when entries.is_grantable then ' (grantable)' else '' end
    from objects
    cross join lateral aclexplode(objects.acl) as entries
    where
        (entries.grantee <> objects.owner or objects.kind = 'large object')
        and (
            objects.schema !~ '^(pg_|information_schema)'
            or entries.grantee::regrole::text ~ '^mailmart_(owner|api|worker|analyst|workspace_analyst)$'
            or (objects.schema = 'pg_catalog' and objects.name = any(%s))
        )
"""
DEFAULTS = """
    select
        case when entries.grantee = 0 then 'PUBLIC' else entries.grantee::regrole::text end,
        'default privilege',
        '',
        'new objects of type ' || defaclobjtype::text || ' of ' || defaclrole::regrole
            || coalesce(' in ' || nullif(defaclnamespace, 0)::regnamespace, ''),
        lower(entries.privilege_type)
    from pg_default_acl
    cross join lateral aclexplode(defaclacl) as entries
    where entries.grantee <> defaclrole
"""
ATTRIBUTES = """
    select rolname, attribute
    from pg_roles
    cross join lateral (
        values ('superuser', rolsuper), ('login', rolcanlogin), ('createrole', rolcreaterole), ('createdb', rolcreatedb),
        ('replication', rolreplication), ('bypassrls', rolbypassrls)
    ) as attributes (attribute, is_set)
    where rolname = any(%s) and is_set
    union all
    select member::regrole::text, 'member of ' || roleid::regrole
    from pg_auth_members where member::regrole::text = any(%s)
    union all
    select owner, 'owner of ' || kind || ' ' || name
    from (
        select relowner::regrole::text as owner, 'table' as kind, relnamespace::regnamespace || '.' || relname as name
        from pg_class
        where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and relnamespace::regnamespace::text !~ '^(pg_|information_schema|public)'
        union all
        select proowner::regrole::text, 'function', proname from pg_proc
        where pronamespace::regnamespace::text !~ '^(pg_|information_schema|public)'
    ) as objects
    where owner <> 'mailmart_owner'
"""
POLICIES = """
    select schemaname || '.' || tablename, policyname, array_to_string(roles, ', '), lower(cmd)
    from pg_policies order by 1, 2
"""
HEADER = """\
# Privileges

Every privilege that a role has in a migrated and built database, from PostgreSQL's catalogues. A test compares this page with
them: `WRITE_PRIVILEGES=1 python -m pytest tests/integration/api/test_privileges.py` writes it anew.

`mailmart_owner` owns all tables, views and functions. What an owner may do with its own objects is not listed. The roles cannot
log in; [logins](../how-to/operators/logins.md) take them.
"""


def privileges_page(connection: psycopg.Connection) -> str:
    """The page for the database of a superuser's connection."""
    # an identity argument list has names and types
    system = [re.sub(r"\(.*", "", signature) for signature in LARGE_OBJECT_FUNCTIONS]
    names = connection.execute(
        "select proname || '(' || pg_get_function_identity_arguments(oid) || ')' from pg_proc"
        " where pronamespace = 'pg_catalog'::regnamespace and proname = any(%s)",
        (system,),
    ).fetchall()
    rows = connection.execute(PRIVILEGES, ([name for (name,) in names],)).fetchall()
    rows += connection.execute(DEFAULTS.encode()).fetchall()
    grantees = [*ROLES, *sorted({row[0] for row in rows} - set(ROLES))]
    parts = [HEADER, *(_section(grantee, [row[1:] for row in rows if row[0] == grantee]) for grantee in grantees)]
    attributes = connection.execute(ATTRIBUTES, (list(ROLES), list(ROLES))).fetchall()
    lines = [f"- `{role}`: {attribute}" for role, attribute in sorted(attributes)] or ["None."]
    parts.append("\n".join(["## Attributes and memberships", "", *lines, ""]))
    parts.append(_policies(connection.execute(POLICIES.encode()).fetchall()))
    return "\n".join(parts)


def _section(grantee: str, rows: list[Privilege]) -> str:
    columns: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    privileges: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for kind, schema, name, privilege in rows:
        if kind == "column":
            table, column = name.split(".")
            columns["table", schema, f"{table} {privilege}"].append(column)
        else:
            privileges[kind, schema, _without_hash(name).removesuffix("()")].add(privilege)
    for (kind, schema, name), of_table in columns.items():
        table, privilege = name.split(" ", 1)
        privileges[kind, schema, table].add(f"{privilege} ({', '.join(sorted(of_table))})")
    # objects of a schema with the same privileges share a line
    merged: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (kind, schema, name), of_object in sorted(privileges.items()):
        merged[kind, schema, "; ".join(sorted(of_object))].append(name)
    lines = [
        f"| {kind}{f' of `{schema}`' if schema else ''} | {', '.join(f'`{name}`' for name in names)} | {text} |"
        for (kind, schema, text), names in sorted(merged.items())
    ]
    return "\n".join(
        [f"## {grantee}", "", "| kind | objects | privileges |", "|---|---|---|", *lines, ""]
        if lines
        else [f"## {grantee}", "", "None.", ""]
    )


def _policies(rows: list[tuple[str, ...]]) -> str:
    tables: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for table, *policy in rows:
        tables[tuple(policy)].append(table)
    lines = [
        f"| `{name}` | {roles} | {command} | {', '.join(f'`{table}`' for table in of_policy)} |"
        for (name, roles, command), of_policy in sorted(tables.items())
    ]
    return "\n".join(["## Row-level security", "", "| policy | roles | for | tables |", "|---|---|---|---|", *lines, ""])


def _without_hash(name: str) -> str:
    """The view of a definition has a hash in its name."""
    return re.sub(r"__[0-9a-f]{12}$", "__…", name)
