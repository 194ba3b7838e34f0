-- depends: 0021_exact_watermarks 0023_locks_and_sessions
set local role mailmart_owner;

-- What was received and could not be loaded. The content is kept once, however often it was received. Bodies hold readable
-- addresses, as raw.webhook_payloads does.
create table raw.rejected_payloads (
    rejected_payload_id bigint generated always as identity primary key,
    provider text not null,
    workspace_id text,
    problem text not null,
    reason text not null,
    source text,
    line bigint,
    body text,
    body_md5 text not null,
    loaded_at timestamptz not null default clock_timestamp()
);

comment on table raw.rejected_payloads is
'Bodies and native events that were received and could not be loaded. Grain: one workspace × provider × problem × content.';
comment on column raw.rejected_payloads.problem is 'too_large, too_many_events, unreadable_body or invalid_event.';
comment on column raw.rejected_payloads.source is 'Name of the file.';
comment on column raw.rejected_payloads.body is 'The text, cut to 16,384 characters.';
comment on column raw.rejected_payloads.body_md5 is 'Of the text and the reason: the same line of a file that is loaded again is no new row.';

create unique index rejected_payloads_content
on raw.rejected_payloads (coalesce(workspace_id, ''), provider, problem, body_md5);
create index rejected_payloads_loaded_at on raw.rejected_payloads (loaded_at);

-- not a SELECT, whose result yoyo prints
do $$
begin
    perform app.track_loading('raw.rejected_payloads');
end
$$;

-- A text of at most 4,000 characters. Of a longer one the last word is removed, which could be the start of an address.
-- Regular expressions run on such texts only.
create function app.clip_text(text text) returns text
language sql immutable parallel safe
return case
    when length(text) > 4000 then regexp_replace(left(text, 4000), '\S{1,255}$', '')
    else text
end;

reset role;
