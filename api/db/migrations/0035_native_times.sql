-- depends: 0025_bounded_bodies
set local role mailmart_owner;

-- A time in RFC 3339; null if it is none, whatever DateStyle and TimeZone are. T and Z may be in lower case, and T a space
-- (section 5.6). Digits after a microsecond are cut off. A leap second (23:59:60Z at the end of a month) is the second after it:
-- PostgreSQL has none.
create function app.parse_native_time(time_text text) returns timestamptz
language plpgsql immutable strict parallel safe
as $$
declare
    part text[] := regexp_match(
        left(time_text, 1000),
        '^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9]:)([0-5][0-9]|60)([.][0-9]+)?'
        || '(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))$'
    );
    local_time timestamp;
    utc timestamp;
begin
    if part is null or length(time_text) > 1000 or not pg_input_is_valid(part[1], 'date') then
        return null;
    end if;
    local_time := (part[1] || ' ' || part[2] || '00')::timestamp
        + make_interval(secs => part[3]::int) + coalesce(left(part[4], 7), '.0')::numeric * interval '1 second';
    utc := local_time - case when part[5] = '-' then -1 else 1 end
        * make_interval(hours => coalesce(part[6], '0')::int, mins => coalesce(part[7], '0')::int);
    if part[3] = '60' and (date_trunc('second', utc)::time <> '00:00:00' or extract(day from utc) <> 1) then
        return null;
    end if;
    return utc at time zone 'UTC';
end
$$;

comment on column raw.rejected_payloads.problem is
'too_large, too_many_events, unreadable_body, invalid_event or not_rfc3339.';

reset role;
