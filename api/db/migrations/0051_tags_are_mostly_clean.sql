-- depends: 0041_steps_and_tags 0047_source_days

-- Tags that need no cleaning are returned by an expression that PostgreSQL inlines. The function with its query and its search path
-- took half of the time in which a first build read the log.
set local role mailmart_owner;

-- What app.clean_tags() was. Not that function renamed: the views of staging would keep calling it.
create function app.clean_unusual_tags(tags text[]) returns text[]
language sql immutable strict parallel safe
set search_path = app, pg_temp
as $$
    select array_agg(first_tags.tag order by first_tags.place)
    from (
        select
            cleaned.tag,
            min(cleaned.place) as place
        from (
            select
                left(btrim(mask_addresses(clip_text(entries.tag)), e' \t\n\r'), 400) as tag,
                entries.place
            from unnest(tags[:1000]) with ordinality as entries (tag, place)
        ) as cleaned
        where cleaned.tag <> ''
        group by cleaned.tag
        order by place
        limit 20
    ) as first_tags
$$;

-- Up to three different tags, each of at most 400 characters, without a space at an end, and without what could be an address. Null for
-- null, but not declared strict: PostgreSQL inlines no strict function that has CASE.
create or replace function app.clean_tags(tags text[]) returns text[]
language sql immutable parallel safe
return case
    when tags is null then null
    when
        array_ndims(tags) = 1
        and array_lower(tags, 1) = 1
        and tags[1] is distinct from tags[2]
        and tags[1] is distinct from tags[3]
        and (tags[2] is distinct from tags[3] or cardinality(tags) = 1)
        and greatest(length(tags[1]), length(tags[2]), length(tags[3])) <= 400
        and case cardinality(tags)
            when 1 then tags[1]
            when 2 then tags[1] || e'\n' || tags[2]
            when 3 then tags[1] || e'\n' || tags[2] || e'\n' || tags[3]
        end ~ '^[^\s@%]([^\t\r\n@%]*[^\s@%])?(\n[^\s@%]([^\t\r\n@%]*[^\s@%])?)*$'
        then tags
    else app.clean_unusual_tags(tags)
end;

reset role;
