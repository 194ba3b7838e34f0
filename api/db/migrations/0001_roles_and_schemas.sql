-- Roles are shared by all databases of a server, so they may be there already, or be made by another
-- process at this moment; both are fine. None of them can log in: a login is made a member and takes the role.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['mailmart_owner', 'mailmart_api', 'mailmart_worker', 'mailmart_analyst'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = role_name) then
            begin
                execute format('create role %I nologin', role_name);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        -- one that may create roles is their administrator, and yet no member of them
        if not pg_has_role(current_user, role_name, 'set') then
            execute format('grant %I to %I', role_name, current_user);
        end if;
    end loop;
    execute format('grant create, temporary, connect on database %I to mailmart_owner', current_database());
    execute format(
        'grant connect on database %I to mailmart_api, mailmart_worker, mailmart_analyst', current_database()
    );
end
$$;

create schema if not exists raw authorization mailmart_owner;
create schema if not exists staging authorization mailmart_owner;
create schema if not exists core authorization mailmart_owner;
create schema if not exists marts authorization mailmart_owner;
create schema if not exists app authorization mailmart_owner;

-- marts are invoker's views, so who reads a mart reads core, each within its row-level security
grant usage on schema core, marts to mailmart_api, mailmart_worker, mailmart_analyst;
grant usage on schema app to mailmart_api, mailmart_worker;
