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
-- one tag with a semicolon between, or an object with name and value. The first one of a name counts.
create function app.fields_of_tags(tags jsonb) returns jsonb
language sql immutable strict parallel safe
as $$
    select coalesce(jsonb_object_agg(fields.name, fields.value), '{}')
    from (
        select distinct on (matches.name)
            matches.name,
            matches.value
        from jsonb_array_elements(
            case when jsonb_typeof(tags) = 'array' then tags else jsonb_build_array(tags) end
        ) with ordinality as elements (tag, place)
        cross join lateral (
            select
                matched.field[1] as name,
                btrim(matched.field[2]) as value,
                matched.place
            from regexp_matches(
                case when jsonb_typeof(elements.tag) = 'string' then left(elements.tag #>> '{}', 2000) end,
                '(?:^|;)\s*(campaign_id|mailbox_id|domain_id|sequence_id|step|variant)\s*[:=]\s*([^;\s][^;]*)',
                'g'
            ) with ordinality as matched (field, place)
            union all
            select
                elements.tag ->> 'name',
                left(elements.tag ->> 'value', 2000),
                1
            where elements.tag ->> 'name' in ('campaign_id', 'mailbox_id', 'domain_id', 'sequence_id', 'step', 'variant', 'tags')
        ) as matches
        where elements.place <= 100
        order by matches.name, elements.place, matches.place
    ) as fields
$$;

-- The functions of 0030 that erase a recipient from JSON texts read what app.parse_json_text() reads.

-- A JSON value of a webhook without the recipient; null if nothing of it is left. Of an event of this recipient only, the members that
-- staging reads are left, without texts, URLs and user agents. Of any other, the address is replaced.
-- key: the name of the member that the value is of; status: the member `status` beside it, if it is a text
create or replace function app.redact_json(
    node jsonb, person jsonb, key text, is_about_person boolean, status text, body_loaded_at timestamptz
) returns jsonb
language plpgsql volatile
set search_path = app, pg_temp
as $$
declare
    content text;
    parsed jsonb;
    is_about boolean := is_about_person;
    is_address boolean;
begin
    case jsonb_typeof(node)
        when 'object' then
            is_about := is_about or is_about_person_only(node, person);
            -- a custom field as a name and a value
            if is_about and key = 'tags' and jsonb_typeof(node -> 'name') = 'string' and node ? 'value' then
                return case
                    when person -> 'kept_keys' ? (node ->> 'name')
                        then jsonb_build_object(
                            'name', node -> 'name',
                            'value', redact_json(node -> 'value', person, node ->> 'name', is_about, null, body_loaded_at)
                        )
                end;
            end if;
            return coalesce(
                (
                    select jsonb_object_agg(pseudonymize(redacted.key, person), redacted.value)
                    from (
                        select
                            members.key,
                            redact_json(
                                members.value, person, members.key, is_about, coalesce(node ->> 'status', node ->> 'enhanced-code'),
                                body_loaded_at
                            ) as value
                        from jsonb_each(node) as members
                    ) as redacted
                    where redacted.value is not null
                ),
                '{}'
            );
        when 'array' then
            return coalesce(
                (
                    select jsonb_agg(redacted.value order by redacted.ordinal)
                    from (
                        select
                            redact_json(elements.value, person, key, is_about, status, body_loaded_at) as value,
                            elements.ordinal
                        from jsonb_array_elements(node) with ordinality as elements (value, ordinal)
                    ) as redacted
                    where redacted.value is not null
                ),
                '[]'
            );
        when 'string' then
            content := node #>> '{}';
        else
            return case when not is_about or person -> 'kept_keys' ? key then node end;
    end case;

    -- SNS has the notification as a JSON text, Mandrill its events. What staging can parse, is parsed here.
    if content ~ '^\s*[[{]' and (is_about or may_be_mentioned(content, person)) then
        parsed := parse_json_text(content);
        if parsed is not null then
            return to_jsonb(redact_json(parsed, person, key, is_about, null, body_loaded_at)::text);
        end if;
    end if;

    -- Brevo's custom fields as name:value|name:value
    if is_about and key = 'X-Mailin-custom' then
        content := (
            select string_agg(pairs.pair, '|' order by pairs.place)
            from regexp_split_to_table(content, '[|]') with ordinality as pairs (pair, place)
            where person -> 'kept_keys' ? btrim(split_part(pairs.pair, ':', 1))
        );
        if content is null then
            return null;
        end if;
    end if;

    is_address := person -> 'address_keys' ? key and content not like '%@%@%' and is_mentioned(content, person);
    if is_address then
        return to_jsonb(erased_address(content, person));
    elsif is_about and person -> 'text_keys' ? key then
        return to_jsonb(erased_text(content, person, status, body_loaded_at));
    elsif is_about and not (person -> 'kept_keys' ? key or person -> 'address_keys' ? key) then
        return null;
    elsif content ~ '^\s*(\[\s*)?\{\s*"'
        and parsed is null
        and not (person -> 'text_keys' ? key or person -> 'list_keys' ? key or person -> 'address_keys' ? key)
        and is_mentioned(content, person)
    then
        -- no view reads JSON that is malformed or nested too deep, and its members cannot be found
        return '"[erased]"';
    end if;
    return to_jsonb(pseudonymize(content, person, is_list => person -> 'list_keys' ? key or person -> 'address_keys' ? key));
end
$$;

-- What stands in place of a text of a receiving server or a provider. That of a bounce keeps its reason, so that a build from nothing
-- classifies it alike. A word without spaces is a code of the provider, unless it is the address's own first part.
create or replace function app.erased_text(content text, person jsonb, status text, body_loaded_at timestamptz) returns text
language plpgsql volatile
set search_path = app, pg_temp
as $$
declare
    replacement text;
begin
    if content ~ '^[A-Za-z0-9_-]{0,60}$' and lower(content) <> split_part(person ->> 'address', '@', 1) then
        return content;
    end if;
    select erased_texts.replacement into replacement
    from pg_temp.erased_texts
    where
        erased_texts.loaded_at = body_loaded_at
        and erased_texts.diagnostic = mask_addresses(clip_text(content))
    order by erased_texts.smtp_status = status desc nulls last, erased_texts.replacement
    limit 1;
    if not found then
        -- by these, staging knows what Postal and Mailjet did not try to send
        return case
            when content like 'Message is likely spam%' then 'Message is likely spam [erased]'
            when content = 'spam reporter' then content
            else '[erased]'
        end;
    elsif replacement is null then
        raise exception 'a bounce of the recipient was not built yet' using errcode = 'MM004';
    end if;
    return replacement;
end
$$;

-- What was received and could not be loaded. Such a body is not read by builds: one that is no JSON goes as a whole.
create or replace function app.erase_recipient_from_rejected(person jsonb) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
    bodies bigint;
begin
    update raw.rejected_payloads
    set
        body = case
            when body is null or not is_mentioned(body, person) then body
            else redact_json(parse_json_text(body), person, '', false, null, loaded_at)::text
        end,
        reason = pseudonymize(reason, person),
        source = pseudonymize(source, person),
        body_md5 = md5(gen_random_uuid()::text)
    where
        (person ->> 'workspace' is null or workspace_id = person ->> 'workspace')
        and may_be_mentioned(concat_ws(' ', body, reason, source), person)
        and is_mentioned(concat_ws(' ', body, reason, source), person);
    get diagnostics bodies = row_count;
    return bodies;
end
$$;

reset role;
