-- depends: 0100_store_ordinary_bodies

-- Messages are counted by the recipient's domain. A domain is what comes before anything that no domain has: a message that was
-- built before 0034 can have a comment beside it, and other systems write what they like.
set local role mailmart_owner;

create function app.bare_domain(domain text) returns text
language sql immutable parallel safe
return left(substring(domain from '^[^][\s()<>"'',;:=%&\\]*'), 255);

create or replace function app.erase_recipient_from_core(person jsonb, schema_name text)
returns table (relation text, row_count bigint)
language plpgsql
set search_path = app, pg_temp
as $$
declare
    in_workspace constant text := person ->> 'workspace';
    other_domains constant text[] := array(
        select recipient_domain(erased_spellings.spelling) from pg_temp.erased_spellings
        where recipient_domain(erased_spellings.spelling) <> person ->> 'domain'
    );
    entry record;
begin
    -- The counts by domain have the bare domain of such a message, so the message gets that one: a later build subtracts it from the
    -- row that it was added to.
    if other_domains <> '{}' then
        for entry in
            select tables.name
            from (
                values
                (to_regclass(format('%I.fct_email_events', schema_name))),
                (to_regclass(format('%I.fct_messages', schema_name)))
            ) as tables (name)
            where tables.name is not null
        loop
            execute format(
                'update %s set recipient_domain = bare_domain(recipient_domain)'
                || ' where ($1 is null or workspace_id = $1) and recipient_domain = any($2)',
                entry.name
            ) using in_workspace, other_domains;
        end loop;
    end if;
    return query select * from erase_links_of_recipient(person, schema_name);
    return query select * from erase_recipient_from_messages(person, schema_name);
end
$$;

reset role;
