-- depends: 0005_api_keys
set local role mailmart_owner;

-- What each of dbt's views was made of, so that a build leaves alone what has not changed: replacing a view waits for its
-- readers, and makes those that come meanwhile wait.
create table app.view_definitions (
    view_schema text not null,
    view_name text not null,
    definition text not null,
    primary key (view_schema, view_name)
);

comment on column app.view_definitions.definition is 'An md5 of the view''s SQL, columns, descriptions and grants.';

reset role;
