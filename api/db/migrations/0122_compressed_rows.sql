-- depends: 0121_hidden_systems_and_faster_erasures

-- Old rows of the two largest tables can be compressed: a block of up to a thousand rows has an array for each column, which
-- PostgreSQL compresses as one value (TOAST). Here is what both tables need; what compresses them is in the next migrations.
set local role mailmart_owner;

-- The blocks' columns are those of the table, each as an array: '{event_id,text,…}'. The arrays of arrays (tags) are texts, because
-- PostgreSQL has no arrays of arrays of different lengths.
create function app.columns_to_compress(relation regclass)
returns table (name name, type_name text, is_array boolean)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select
        pg_attribute.attname,
        format_type(pg_attribute.atttypid, pg_attribute.atttypmod),
        pg_type.typcategory = 'A'
    from pg_attribute
    inner join pg_type on pg_attribute.atttypid = pg_type.oid
    where
        pg_attribute.attrelid = relation
        and pg_attribute.attnum > 0
        and not pg_attribute.attisdropped
        and pg_attribute.attname <> 'workspace_id'
    order by pg_attribute.attnum;
end;

-- Adds an array for each column that the table has and its blocks do not have yet. No statistics are kept of them: they would take as
-- long as unpacking, help no query, and hold texts of recipients. A migration that adds a column with a default to the table gives it
-- to the blocks as well, because an array that is missing reads as null.
create function app.add_columns_of_blocks(blocks regclass, relation regclass)
returns void
language plpgsql
set search_path = app, pg_temp
as $$
declare
    new_columns text;
begin
    select string_agg(
        format(
            'add column %1$I %2$s[], alter column %1$I set statistics 0',
            missing.name, case when missing.is_array then 'text' else missing.type_name end
        ),
        ', '
    )
    into new_columns
    from columns_to_compress(relation) as missing
    where missing.name not in (select present.name from columns_to_compress(blocks) as present);
    if new_columns is not null then
        execute format('alter table %s %s', blocks, new_columns);
    end if;
end
$$;

-- The arrays of a block, as a select list over its rows, with the names of the columns. An array without a value is null. A hash is
-- stored as bytes if all of the block are hexadecimal, which takes half.
-- in_order has to be another value for each row of a block: each array is sorted by itself, and of equal rows in any order.
create function app.packed_columns(relation regclass, in_order text)
returns text
language sql stable
set search_path = app, pg_temp
begin atomic
    select string_agg(
        case when columns.name = 'recipient_hash' then
            format(
                'case when not bool_and(recipient_hash ~ %1$L) then array_agg(recipient_hash order by %2$s) end as recipient_hash, '
                || 'case when bool_and(recipient_hash ~ %1$L) then array_agg('
                || 'case when recipient_hash ~ %1$L then decode(recipient_hash, ''hex'') end order by %2$s) end as recipient_hash_bytes',
                '^([0-9a-f]{2})+$', in_order
            )
        else
            format(
                'case when count(%1$I) > 0 then array_agg(%1$I%2$s order by %3$s) end as %1$I',
                columns.name, case when columns.is_array then '::text' else '' end, in_order
            )
        end,
        e',\n' order by columns.place
    )
    from (
        select name, is_array, ordinality as place
        from app.columns_to_compress(relation) with ordinality
    ) as columns;
end;

-- The columns of blocks that hold those of the table, in the order of app.packed_columns().
create function app.names_of_arrays(relation regclass) returns text
language sql stable
set search_path = app, pg_temp
begin atomic
    select string_agg(
        case when columns.name = 'recipient_hash' then 'recipient_hash, recipient_hash_bytes' else quote_ident(columns.name) end,
        ', ' order by columns.place
    )
    from (select name, ordinality as place from app.columns_to_compress(relation) with ordinality) as columns;
end;

-- The rows of blocks that meet a condition, as a query with the columns of the table, workspace_id first. more_columns: of blocks,
-- such as ', blocks.block_id'.
create function app.unpacked_rows(
    blocks regclass, relation regclass, condition text default 'true', more_columns text default ''
)
returns text
language sql stable
-- so that the name of the blocks is written with its schema
set search_path = pg_catalog, pg_temp
begin atomic
    select format(
        'select blocks.workspace_id, %s%s from %s as blocks cross join lateral unnest(%s) as unpacked (%s) where %s',
        string_agg(
            case
                when columns.name = 'recipient_hash'
                    then 'coalesce(encode(unpacked.recipient_hash_bytes, ''hex''), unpacked.recipient_hash) as recipient_hash'
                when columns.is_array then format('unpacked.%1$I::%2$s as %1$I', columns.name, columns.type_name)
                else format('unpacked.%I', columns.name)
            end,
            ', ' order by columns.place
        ),
        more_columns,
        blocks,
        string_agg(
            case
                when columns.name = 'recipient_hash' then 'blocks.recipient_hash, blocks.recipient_hash_bytes'
                else format('blocks.%I', columns.name)
            end,
            ', ' order by columns.place
        ),
        app.names_of_arrays(relation),
        condition
    )
    from (
        select name, type_name, is_array, ordinality as place
        from app.columns_to_compress(relation) with ordinality
    ) as columns;
end;

revoke execute on function app.columns_to_compress(regclass) from public;
revoke execute on function app.add_columns_of_blocks(regclass, regclass) from public;
revoke execute on function app.packed_columns(regclass, text) from public;
revoke execute on function app.names_of_arrays(regclass) from public;
revoke execute on function app.unpacked_rows(regclass, regclass, text, text) from public;

reset role;
