-- depends: 0025_bounded_bodies
set local role mailmart_owner;

-- A JSON text in a body as jsonb; null if it is not JSON, or out of the bounds of a body. As at loading, U+FFFD replaces
-- \u0000 and each half of a surrogate pair that is alone. A text with that many brackets could be nested deeper than the
-- server's stack, which is an error that pg_input_is_valid() does not catch.
create function app.parse_json_text(json_text text) returns jsonb
language plpgsql immutable strict parallel safe
as $$
declare
    mended text := json_text;
    parsed jsonb;
begin
    if octet_length(json_text) > 10 * 1024 * 1024
        or length(json_text) - length(translate(json_text, '[{', '')) > 5000
    then
        return null;
    end if;
    if not pg_input_is_valid(json_text, 'jsonb') then
        if strpos(json_text, '\u') = 0 then
            return null;
        end if;
        -- valid JSON has no control characters: they hold the place of what has to stay
        mended := replace(json_text, '\\', chr(1));
        mended := regexp_replace(mended, '\\u([dD][89abAB]\w\w)\\u([dD][c-fC-F]\w\w)', chr(2) || '\1' || chr(2) || '\2', 'g');
        mended := regexp_replace(mended, '\\u(0000|[dD][89a-fA-F]\w\w)', '\ufffd', 'g');
        mended := replace(replace(mended, chr(2), '\u'), chr(1), '\\');
        if not pg_input_is_valid(mended, 'jsonb') then
            return null;
        end if;
    end if;
    parsed := mended::jsonb;
    if jsonb_path_exists(parsed, 'strict $.**{100}')
        or jsonb_path_exists(parsed, 'strict $.**{0 to 100} ? (@.type() == "number") ? (@ > 1e30 || @ < -1e30)')
    then
        return null;
    end if;
    return parsed;
end
$$;

-- The text of base64; null if it is not base64 of UTF-8. There is no exception to catch: a parallel worker has no subtransactions.
create function app.decode_base64(encoded text) returns text
language plpgsql immutable strict parallel safe
as $$
declare
    bytes bytea;
begin
    if encoded !~ '^([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$' then
        return null;
    end if;
    bytes := decode(encoded, 'base64');
    if encode(bytes, 'hex') !~ (
        '^(0[1-9a-f]|[1-7].|(c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|(e[1-9a-c]|e[ef])([89ab].){2}|ed[89].[89ab].'
        || '|f0[9ab].([89ab].){2}|f[123]([89ab].){3}|f48.([89ab].){2})*$'
    ) then
        return null;
    end if;
    return convert_from(bytes, 'UTF8');
end
$$;

-- The events in a body that is no event itself, one row each: out of the envelopes of SNS, EventBridge, Lambda, SQS, Firehose and
-- CloudWatch Logs, and out of pages of the providers' APIs. `is_event` says what an event of the provider looks like. A node that
-- meets kind_paths[i] has the kind kinds[i]. The kind of an event is null; what is no event has another one, so that nothing is
-- dropped silently. `envelope_time` is the time of the envelope, for events without a time of their own.
--
-- An array in an array, a text in a text and other shapes that no provider documents are not searched.
create function app.unpack_body(
    node jsonb, is_event jsonpath, kinds text[], kind_paths jsonpath[], envelope_time text default null, level int default 0
) returns table (event jsonb, event_time text, kind text)
language plpgsql immutable parallel safe
rows 1
as $$
declare
    inner_text text;
    inner_node jsonb;
    time_here text := envelope_time;
    member text;
begin
    if jsonb_typeof(node) is distinct from 'object' or level > 8 then
        return query select null::jsonb, null::text, 'unreadable_body';
        return;
    end if;
    for i in 1 .. cardinality(kinds) loop
        if node @@ kind_paths[i] then
            return query select null::jsonb, null::text, kinds[i];
            return;
        end if;
    end loop;
    if node @@ is_event then
        return query select node, envelope_time, null::text;
        return;
    end if;

    if node ->> 'Type' in ('SubscriptionConfirmation', 'UnsubscribeConfirmation')
        or node ->> 'messageType' = 'CONTROL_MESSAGE'
        or node ->> 'notificationType' = 'AmazonSnsSubscriptionSucceeded'
        or node ->> 'Message' like 'Successfully validated SNS topic%'
        or node ->> 'detail-type' = 'Scheduled Event'
    then
        return query select null::jsonb, null::text, 'heartbeat';
        return;
    end if;

    -- one event: SNS, EventBridge, SQS, Lambda, Kinesis, Firehose, CloudWatch Logs, and a form of Mandrill
    if jsonb_typeof(node -> 'Sns') = 'object' then
        inner_node := node -> 'Sns';
    elsif jsonb_typeof(node -> 'detail') = 'object' then
        inner_node := node -> 'detail';
        time_here := coalesce(node ->> 'time', envelope_time);
    elsif node ? 'Message' then
        time_here := coalesce(node ->> 'Timestamp', envelope_time);
        if jsonb_typeof(node -> 'Message') = 'object' then
            inner_node := node -> 'Message';
        else
            inner_text := node ->> 'Message';
        end if;
    elsif jsonb_typeof(node #> '{kinesis,data}') = 'string' then
        inner_text := app.decode_base64(node #>> '{kinesis,data}');
    elsif jsonb_typeof(node -> 'data') = 'string' then
        inner_text := app.decode_base64(node ->> 'data');
    elsif jsonb_typeof(node -> 'body') = 'string' and node -> 'isBase64Encoded' = 'true' then
        inner_text := app.decode_base64(node ->> 'body');
    else
        foreach member in array array['Body', 'body', 'message', 'mandrill_events', 'event-data'] loop
            if jsonb_typeof(node -> member) = 'string' then
                inner_text := node ->> member;
                exit;
            end if;
        end loop;
    end if;
    if inner_text is not null then
        inner_node := coalesce(app.parse_json_text(inner_text), 'null');
    end if;
    if jsonb_typeof(inner_node) = 'object' then
        return query
            select part.* from app.unpack_body(inner_node, is_event, kinds, kind_paths, time_here, level + 1) as part;
        if found then
            return;
        end if;
    end if;

    -- several events: records of Lambda, Firehose and SQS, and pages of an API
    if inner_node is null then
        foreach member in array array[
            'Records', 'records', 'Messages', 'messages', 'logEvents', 'items', 'events', 'results', 'data', 'Bounces', 'Opens', 'Clicks'
        ] loop
            if jsonb_typeof(node -> member) = 'array' then
                inner_node := node -> member;
                exit;
            end if;
        end loop;
    end if;
    if jsonb_typeof(inner_node) is distinct from 'array' then
        return query select null::jsonb, null::text, 'unreadable_body';
    elsif jsonb_array_length(inner_node) = 0 then
        return query select null::jsonb, null::text, 'empty_body';
    elsif jsonb_array_length(inner_node) > 10000 then
        return query select null::jsonb, null::text, 'too_many_events';
    else
        return query
            select part.*
            from jsonb_array_elements(inner_node) as elements (element)
            cross join lateral app.unpack_body(elements.element, is_event, kinds, kind_paths, time_here, level + 1) as part;
    end if;
end
$$;

-- An address (RFC 5322) in its one spelling: without a display name, comments and white space, in lower case, its domain in ASCII
-- (RFC 3492) and without a final dot, its local part without quotes that it does not need. For addresses that are not plain.
create function app.canonical_address(address text) returns text
language plpgsql immutable strict parallel safe
as $$
declare
    letter text;
    kept text := '';
    depth int := 0;
    is_quoted boolean := false;
    is_escaped boolean := false;
    is_in_brackets boolean := false;
    local_part text;
    domain text;
begin
    foreach letter in array string_to_array(left(address, 2000), null) loop
        if is_escaped then
            is_escaped := false;
            if depth = 0 then
                kept := kept || letter;
            end if;
        elsif letter = '\' and (is_quoted or depth > 0) then
            is_escaped := true;
            if depth = 0 then
                kept := kept || letter;
            end if;
        elsif letter = '"' and depth = 0 then
            is_quoted := not is_quoted;
            kept := kept || letter;
        elsif is_quoted then
            kept := kept || letter;
        elsif letter = '(' then
            depth := depth + 1;
        elsif letter = ')' and depth > 0 then
            depth := depth - 1;
        elsif depth > 0 then
            null;
        elsif letter = '<' then
            is_in_brackets := true;
            kept := '';
        elsif letter = '>' and is_in_brackets then
            exit;
        elsif letter !~ '\s' then
            kept := kept || letter;
        end if;
    end loop;
    if is_quoted or depth > 0 then
        -- a quote or a comment without its end: the text is no address
        kept := coalesce(substring(address from '<([^<>]*)>\s*$'), address);
    end if;
    kept := lower(btrim(kept, e' \t\r\n'));
    local_part := substring(kept from '^(.*)@[^@]*$');
    domain := rtrim(substring(kept from '@([^@]*)$'), '.');
    if local_part is null or domain = '' then
        return nullif(kept, '');
    end if;
    if local_part ~ '^"(\\.|[^"\\])+"$' then
        letter := regexp_replace(substr(local_part, 2, length(local_part) - 2), '\\(.)', '\1', 'g');
        if letter ~ '^[^][\s"(),:;<>@\\.]+([.][^][\s"(),:;<>@\\.]+)*$' then
            local_part := letter;
        end if;
    end if;
    return local_part || '@' || app.ascii_domain(domain);
end
$$;

-- A domain with each label that is not ASCII as xn--… (RFC 3492, RFC 5891).
create function app.ascii_domain(domain text) returns text
language plpgsql immutable strict parallel safe
as $$
declare
    label text;
    encoded text;
    labels text[] := array[]::text[];
    code_points int[];
    code_point int;
    next_point int;
    n int;
    delta bigint;
    bias int;
    handled int;
    basic int;
    q bigint;
    k int;
    t int;
begin
    if domain ~ '^[\u0001-\u007f]*$' then
        return domain;
    end if;
    foreach label in array string_to_array(translate(lower(normalize(domain, nfkc)), '。', '.'), '.') loop
        if label ~ '^[\u0001-\u007f]*$' or length(label) > 63 then
            labels := labels || label;
            continue;
        end if;
        code_points := array(select ascii(letter) from unnest(string_to_array(label, null)) as letter);
        encoded := regexp_replace(label, '[^\u0001-\u007f]', '', 'g');
        basic := length(encoded);
        handled := basic;
        encoded := encoded || case when basic > 0 then '-' else '' end;
        n := 128;
        delta := 0;
        bias := 72;
        while handled < cardinality(code_points) loop
            next_point := (select min(point) from unnest(code_points) as point where point >= n);
            delta := delta + (next_point - n)::bigint * (handled + 1);
            n := next_point;
            foreach code_point in array code_points loop
                if code_point < n then
                    delta := delta + 1;
                elsif code_point = n then
                    q := delta;
                    k := 36;
                    loop
                        t := least(greatest(k - bias, 1), 26);
                        exit when q < t;
                        encoded := encoded || substr('abcdefghijklmnopqrstuvwxyz0123456789', (t + (q - t) % (36 - t))::int + 1, 1);
                        q := (q - t) / (36 - t);
                        k := k + 36;
                    end loop;
                    encoded := encoded || substr('abcdefghijklmnopqrstuvwxyz0123456789', q::int + 1, 1);
                    delta := case when handled = basic then delta / 700 else delta / 2 end;
                    delta := delta + delta / (handled + 1);
                    k := 0;
                    while delta > 455 loop
                        delta := delta / 35;
                        k := k + 36;
                    end loop;
                    bias := k + (36 * delta / (delta + 38))::int;
                    delta := 0;
                    handled := handled + 1;
                end if;
            end loop;
            delta := delta + 1;
            n := n + 1;
        end loop;
        labels := labels || ('xn--' || encoded);
    end loop;
    return array_to_string(labels, '.');
end
$$;

-- A plain address needs no more than one look: all others go through app.canonical_address().
create or replace function app.bare_address(address text) returns text
language sql immutable parallel safe
return case
    when address ~ '^[A-Za-z0-9!#$%&''*+/=?^_`{|}~.-]+@([A-Za-z0-9-]+[.])*[A-Za-z0-9-]+$' then lower(address)
    else app.canonical_address(address)
end;

reset role;
