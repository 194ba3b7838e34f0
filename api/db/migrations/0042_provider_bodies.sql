-- depends: 0041_steps_and_tags

-- Mandrill posts up to 1,000 events in one field of a form, with more brackets than a JSON text could have. A message of SendGrid's
-- APIs has its events in a member. MailerSend and Postal have no custom fields, so these are in tags.
set local role mailmart_owner;

-- Whether brackets outside of strings are nested at most 100 deep. Each pass removes the innermost pairs. 10,000 events have fewer
-- than 200,000 brackets that open; more could take minutes.
create function app.is_shallow_json(json_text text) returns boolean
language plpgsql immutable strict parallel safe
as $$
declare
    opened constant int := length(json_text) - length(translate(json_text, '[{', ''));
    brackets text;
    next_brackets text;
begin
    if opened <= 100 or opened > 200000 then
        return opened <= 100;
    end if;
    -- a string without its end reaches to the end of the text: each byte is read once
    brackets := regexp_replace(json_text, '"(?:[^"\\]|\\.)*(?:"|\\?$)', '', 'g');
    brackets := translate(regexp_replace(brackets, '[^][{}]+', '', 'g'), '{}', '[]');
    for pass in 1 .. 100 loop
        if brackets = '' then
            return true;
        end if;
        next_brackets := replace(brackets, '[]', '');
        if length(next_brackets) = length(brackets) then
            return false;
        end if;
        brackets := next_brackets;
    end loop;
    return brackets = '';
end
$$;

-- A JSON text in a body as jsonb; null if it is not JSON, or out of the bounds of a body. As at loading, U+FFFD replaces
-- \u0000 and each half of a surrogate pair that is alone. Deep nesting is an error that pg_input_is_valid() does not catch.
create or replace function app.parse_json_text(json_text text) returns jsonb
language plpgsql immutable strict parallel safe
as $$
declare
    mended text := json_text;
    parsed jsonb;
begin
    if octet_length(json_text) > 10 * 1024 * 1024 or not app.is_shallow_json(json_text) then
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

-- The events of a message of SendGrid's APIs, each with what they share in its member sg_message. Null if a body has no such
-- message, or if it would grow beyond the bounds of a body.
create function app.events_of_message(node jsonb) returns jsonb
language plpgsql immutable strict parallel safe
as $$
declare
    shared jsonb;
begin
    if jsonb_typeof(node -> 'events') is distinct from 'array'
        or jsonb_typeof(node -> 'to_email') is distinct from 'string'
        or not node ?| array['msg_id', 'sg_message_id']
    then
        return null;
    end if;
    shared := (
        select jsonb_object_agg(members.key, members.value) from jsonb_each(node) as members
        where members.key in ('msg_id', 'sg_message_id', 'to_email', 'unique_args', 'custom_args', 'categories', 'category')
    );
    if jsonb_array_length(node -> 'events') * octet_length(shared::text)::bigint > 10 * 1024 * 1024 then
        return null;
    end if;
    return (
        select
            jsonb_agg(
                case
                    when jsonb_typeof(elements.element) = 'object'
                        then jsonb_build_object('sg_message', shared) || elements.element
                    else elements.element
                end
                order by elements.place
            )
        from jsonb_array_elements(node -> 'events') with ordinality as elements (element, place)
    );
end
$$;

-- The events in a body that is no event itself, one row each: out of the envelopes of SNS, EventBridge, Lambda, SQS, Firehose and
-- CloudWatch Logs, and out of pages of the providers' APIs. `is_event` says what an event of the provider looks like. A node that
-- meets kind_paths[i] has the kind kinds[i]. The kind of an event is null; what is no event has another one, so that nothing is
-- dropped silently. `envelope_time` is the time of the envelope, for events without a time of their own.
--
-- An array in an array, a text in a text and other shapes that no provider documents are not searched.
create or replace function app.unpack_body(
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

    -- several events: of a message, records of Lambda, Firehose and SQS, a form's field that was parsed, and pages of an API
    if inner_node is null then
        inner_node := app.events_of_message(node);
    end if;
    if inner_node is null then
        foreach member in array array[
            'Records', 'records', 'Messages', 'messages', 'logEvents', 'mandrill_events', 'items', 'events', 'results', 'data', 'Bounces',
            'Opens', 'Clicks'
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

-- The custom fields in tags, for providers that have no others: a tag such as campaign_id:c1 or campaign_id=c1, several of them in
-- one tag with a semicolon between. The first one of a name counts.
create function app.fields_of_tags(tags jsonb) returns jsonb
language sql immutable strict parallel safe
as $$
    select coalesce(jsonb_object_agg(fields.name, fields.value), '{}')
    from (
        select distinct on (matches.field[1])
            matches.field[1] as name,
            btrim(matches.field[2]) as value
        from jsonb_array_elements(
            case when jsonb_typeof(tags) = 'array' then tags else jsonb_build_array(tags) end
        ) with ordinality as elements (tag, place)
        cross join lateral regexp_matches(
            case when elements.place <= 100 and jsonb_typeof(elements.tag) = 'string' then left(elements.tag #>> '{}', 2000) end,
            '(?:^|;)\s*(campaign_id|mailbox_id|domain_id|sequence_id|step|variant)\s*[:=]\s*([^;\s][^;]*)',
            'g'
        ) with ordinality as matches (field, place)
        order by matches.field[1], elements.place, matches.place
    ) as fields
$$;

reset role;
