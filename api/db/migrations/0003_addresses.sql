-- depends: 0002_landing
set local role mailmart_owner;

-- The key of the recipients' hash: only the owner reads it, and nothing grants it further. It is kept as the two
-- padded keys of HMAC (RFC 2104), so that a hash is two calls of sha256.
create table app.recipient_hash_key (
    is_only boolean primary key default true check (is_only),
    inner_key bytea not null,
    outer_key bytea not null
);

insert into app.recipient_hash_key (inner_key, outer_key)
with secret as (
    -- 32 bytes out of 256 random bits of the server's own generator, padded with zeros to a block of sha256
    select
        sha256(decode(replace(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'))
        || decode(repeat('00', 32), 'hex') as padded
)

select
    string_agg(set_byte('\x00'::bytea, 0, get_byte(padded, place) # 54), ''::bytea order by place) as inner_key,
    string_agg(set_byte('\x00'::bytea, 0, get_byte(padded, place) # 92), ''::bytea order by place) as outer_key
from secret, generate_series(0, 63) as place;

-- The address itself out of "Name <address>", trimmed, in lower case; null for an empty one.
create function app.bare_address(address text) returns text
language sql immutable parallel safe
return nullif(lower(trim(coalesce(substring(address from '<([^<>]*)>\s*$'), address))), '');

-- A recipient's address as HMAC-SHA256, hexadecimal; null for none.
create function app.recipient_hash(address text) returns text
language sql stable parallel safe
return (
    select
        encode(
            sha256(key.outer_key || sha256(key.inner_key || convert_to(app.bare_address(address), 'UTF8'))), 'hex'
        )
    from app.recipient_hash_key as key
);

-- The domain of an address, in lower case; null where it has none.
create function app.recipient_domain(address text) returns text
language sql immutable parallel safe
return substring(app.bare_address(address) from '@([^@]+)$');

-- A text without e-mail addresses: each stands as <address>, also where its @ is percent-encoded (in URLs). The local part is
-- anything but white space, brackets, quotes and separators, so that more is masked rather than less.
create function app.mask_addresses(said text) returns text
language sql immutable parallel safe
return case
    when said ~* '@|%40'
        then regexp_replace(
            said, '<?[^][\s<>()"'',;:=&?/\\]+(@|%40)[^][\s<>()"'',;:=&?/\\]+>?', '<address>', 'gi'
        )
    else said
end;

revoke execute on function app.recipient_hash(text) from public;

reset role;
