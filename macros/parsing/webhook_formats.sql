{#
    What each provider's events look like: one entry a provider. Paths are conditions of SQL/JSON, in lax mode.

    event     What makes an object an event of the provider. It names the fields that every event has, and that no other
              provider's event has in this combination: a body of another provider is reported and not misread.
    others    What the provider documents and what is no mail: kind → path. A kind is a value of `problem`.
#}
{% macro webhook_formats() -%}
    {#- the messages of the events that Mailgun's test button sends -#}
    {%- set mailgun_test = ' like_regex "^<?(20130503182626[.]18666[.]16540|20130503192659[.]13651[.]20287'
        ~ '|20110215055645[.]25246[.]63817)@"' -%}
    {{ return({
        'sendgrid': {
            'event': '$.event.type() == "string" && (exists($.sg_event_id) || exists($.sg_message_id) || exists($."smtp-id")'
                ~ ' || exists($.email) && exists($.timestamp) && !exists($.message_id) && !exists($.recipient))'
                ~ ' || $.event_name.type() == "string" && exists($.sg_message.to_email)',
            'others': {
                'provider_test': '$.sg_message_id starts with "14c5d75ce93.dfd.64b469."'
                    ~ ' || $."smtp-id" == "<14c5d75ce93.dfd.64b469@ismtpd-555>"'
                    ~ ' || $.email like_regex "@sink[.]sendgrid[.]net$" flag "i"',
            },
        },
        'ses': {
            'event': 'exists($.mail) && ($.eventType.type() == "string" || $.notificationType.type() == "string")',
            'others': {
                'provider_test': 'exists($.mail.destination[*])'
                    ~ ' && !exists($.mail.destination[*] ? (!(@ like_regex "@simulator[.]amazonses[.]com(>|$)" flag "i")))',
                'inbound_mail': '$.notificationType == "Received" || $.eventType == "Received"',
                'account_event': '$.source == "aws.ses" && exists($."detail-type") && !exists($.detail.mail)',
            },
        },
        'postmark': {
            'event': '$.RecordType.type() == "string"',
            'others': {
                'provider_test': '$.MessageID == "00000000-0000-0000-0000-000000000000"'
                    ~ ' || $.Email like_regex "@(blackhole|bounce-testing)[.]postmarkapp[.]com$" flag "i"'
                    ~ ' || $.Recipient like_regex "@(blackhole|bounce-testing)[.]postmarkapp[.]com$" flag "i"',
                'inbound_mail': '$.RecordType == "Inbound" || exists($.FromFull) && exists($.MailboxHash)',
            },
        },
        'mailgun': {
            'event': '$."event-data".event.type() == "string"'
                ~ ' || $.event.type() == "string" && (exists($.timestamp) || exists($."@timestamp"))'
                ~ ' && !exists($.sg_event_id) && !exists($.sg_message_id)'
                ~ ' && (exists($.message) || exists($.recipient) || exists($.id) || exists($."Message-Id") || exists($."message-id"))',
            'others': {
                'provider_test': '$."event-data".message.headers."message-id"' ~ mailgun_test
                    ~ ' || $.message.headers."message-id"' ~ mailgun_test
                    ~ ' || $."Message-Id"' ~ mailgun_test
                    ~ ' || $."message-id"' ~ mailgun_test,
            },
        },
        'resend': {
            'event': '$.type like_regex "^email[.]" && $.data.type() == "object" && exists($.created_at)',
            'others': {
                'provider_test': 'exists($.data.to[*])'
                    ~ ' && !exists($.data.to[*] ? (!(@ like_regex "@resend[.]dev(>|$)" flag "i")))',
                'inbound_mail': '$.type == "email.received"',
                'account_event': '$.type like_regex "^(contact|domain|suppression|broadcast)s?[.]" && $.data.type() == "object"',
            },
        },
        'sparkpost': {
            'event': '$.msys.*.type.type() == "string"'
                ~ ' || $.type.type() == "string" && exists($.customer_id) && exists($.rcpt_to)',
            'others': {
                'provider_test': '$.msys.type() == "object" && !exists($.msys.*)'
                    ~ ' || $.msys.*.rcpt_to like_regex "[.@]sink[.]sparkpostmail[.]com$" flag "i"'
                    ~ ' || $.rcpt_to like_regex "[.@]sink[.]sparkpostmail[.]com$" flag "i"',
                'inbound_mail': 'exists($.msys.relay_event) || exists($.msys.relay_message)',
                'account_event': 'exists($.msys.ab_test_event) || exists($.msys.ingest_event)',
            },
        },
        'mailjet': {
            'event': '$.event.type() == "string" && exists($.time)'
                ~ ' && (exists($.MessageID) || exists($.mj_message_id) || exists($.mj_campaign_id))',
            'others': {
                'provider_test': '$.email == "api@mailjet.com" || $.email == "bounce@mailjet.com"',
                'inbound_mail': 'exists($.Sender) && exists($.Recipient) && exists($.Headers)',
            },
        },
        'brevo': {
            'event': '$.event.type() == "string" && exists($.email) && !exists($.timestamp)'
                ~ ' && (exists($."message-id") || exists($.camp_id))',
            'others': {
                'inbound_mail': 'exists($.items[*].Uuid) || exists($.Uuid) && exists($.MessageId)',
                'account_event': '$.event like_regex "^(contact_|list_)" && exists($.email)'
                    ~ ' || exists($.msg_status) && exists($.sms_count)',
            },
        },
        'mailersend': {
            'event': '$.type starts with "activity." && $.data.type() == "object"',
            'others': {
                'provider_test': '$.type == "webhook.test"',
                'inbound_mail': '$.type like_regex "^inbound(_forward|_message)?[.]" && exists($.created_at)',
                'account_event': '$.type like_regex'
                    ~ ' "^(sender_identity|maintenance|email_single|email_list|bulk_email|recipient|sms)[.]" && exists($.created_at)',
            },
        },
        'mailtrap': {
            'event': '$.event.type() == "string" && exists($.message_id) && exists($.event_id) && exists($.timestamp)'
                ~ ' && exists($.email) && !exists($.sg_event_id) && !exists($.sg_message_id)',
            'others': {
                'inbound_mail': '$.event starts with "inbound."',
                'account_event': '$.event starts with "activity_log."',
            },
        },
        'mandrill': {
            'event': '$.event.type() == "string" && (exists($._id) || exists($.msg._id)) && exists($.ts) && $.msg.type() == "object"',
            'others': {
                'provider_test': '$._id like_regex "^exampleaaaaaaaaaa" || $.msg._id like_regex "^exampleaaaaaaaaaa"'
                    ~ ' || $.msg.email == "example.webhook@mandrillapp.com"',
                'inbound_mail': '$.event == "inbound" && exists($.ts)',
                'account_event': '$.type like_regex "^(allow|black|deny|safe|white)list$" && exists($.action)',
            },
        },
        'postal': {
            'event': '$.event.type() == "string" && exists($.uuid) && exists($.timestamp)'
                ~ ' && ($.payload.message.type() == "object" || $.payload.original_message.type() == "object")',
            'others': {
                'inbound_mail': '$.payload.message.direction == "incoming" || $.payload.original_message.direction == "incoming"'
                    ~ ' || exists($.rcpt_to) && exists($.mail_from)',
                'account_event': '$.event like_regex "^(DomainDNSError|SendLimit)" && exists($.uuid) && exists($.payload)',
            },
        },
    }) }}
{%- endmacro %}


{# A provider's format as SQL expressions, the arguments of unpacked_elements(). `ordinary` is an event and none of the others. #}
{% macro webhook_format(provider) -%}
    {%- set format = webhook_formats()[provider] -%}
    {%- set ordinary = '(' ~ format.event ~ ')' -%}
    {%- set others = namespace(ordinary=ordinary, paths=[]) -%}
    {%- for path in format.others.values() -%}
        {%- set others.ordinary = others.ordinary ~ ' && !(' ~ path ~ ')' -%}
        {%- do others.paths.append(sql_literal(path)) -%}
    {%- endfor -%}
    {{ return({
        'ordinary': sql_literal(others.ordinary) ~ '::jsonpath',
        'event': sql_literal(format.event) ~ '::jsonpath',
        'kinds': sql_array(format.others.keys() | list),
        'paths': 'array[' ~ others.paths | join(', ') ~ ']::jsonpath[]',
    }) }}
{%- endmacro %}
