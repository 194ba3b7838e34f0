{#
    The request context: the only place that reads the settings mailmart.*, which the API sets with SET LOCAL. Without any,
    a mart answers for the last 30 days, all campaigns, the current rows. Each macro is a value for an expression, in
    `(select …)`: a bare current_setting never becomes an index condition under row-level security (189 ms against 0.7).
    A setting that was set once and reset reads '', hence nullif.
#}

{% macro request_setting(name, type) -%}
    nullif(current_setting('mailmart.{{ name }}', true), '')::{{ type }}
{%- endmacro %}


{# The batch as of which rows are read; without the setting the standing rows. #}
{% macro request_as_of() -%}
    (select coalesce({{ request_setting('as_of', 'bigint') }}, {{ open_ended() }} - 1))
{%- endmacro %}


{# First and last date of the window, UTC, both inside. #}
{% macro request_range_start() -%}
    (select coalesce({{ request_setting('range_start', 'date') }}, (now() at time zone 'UTC')::date - 30))
{%- endmacro %}


{% macro request_range_end() -%}
    (select coalesce({{ request_setting('range_end', 'date') }}, (now() at time zone 'UTC')::date))
{%- endmacro %}


{# day, week (ISO, from Monday) or month. #}
{% macro request_group_by() -%}
    (select coalesce({{ request_setting('group_by', 'text') }}, 'day'))
{%- endmacro %}


{# The campaign asked for; null: all. #}
{% macro request_campaign_id() -%}
    (select {{ request_setting('campaign_id', 'text') }})
{%- endmacro %}


{# The sending domain asked for; null: all. #}
{% macro request_domain_id() -%}
    (select {{ request_setting('domain_id', 'text') }})
{%- endmacro %}


{# The campaigns to compare or to export, a JSON array of ids; null: all. #}
{% macro request_campaign_ids() -%}
    (select {{ request_setting('campaign_ids', 'jsonb') }})
{%- endmacro %}


{# The condition that a campaign is among those asked for: campaign_ids and campaign_id, each if it is there. #}
{% macro is_of_requested_campaigns(campaign_id) -%}
    coalesce({{ request_campaign_ids() }} ? {{ campaign_id }}, true)
    and {{ campaign_id }} = coalesce({{ request_campaign_id() }}, {{ campaign_id }})
{%- endmacro %}


{# The rates to compare, a JSON array of names. #}
{% macro request_metrics() -%}
    (
        select
            coalesce(
                {{ request_setting('metrics', 'jsonb') }},
                '["open_rate", "click_rate", "reply_rate", "delivery_rate"]'::jsonb
            )
    )
{%- endmacro %}


{# The time zone asked for, an IANA name; null: each workspace's own. #}
{% macro request_timezone() -%}
    (select {{ request_setting('timezone', 'text') }})
{%- endmacro %}


{# period (four a day) or hour. #}
{% macro request_granularity() -%}
    (select coalesce({{ request_setting('granularity', 'text') }}, 'period'))
{%- endmacro %}


{# The workspace that the request names; null for an analyst, who sees all. #}
{% macro request_workspace_id() -%}
    (select {{ request_setting('workspace_id', 'text') }})
{%- endmacro %}


{# The condition under which a row of a versioned table is true for the request. #}
{% macro is_visible_as_of(alias) -%}
    {{ alias }}.valid_from <= {{ request_as_of() }} and {{ alias }}.valid_to > {{ request_as_of() }}
{%- endmacro %}
