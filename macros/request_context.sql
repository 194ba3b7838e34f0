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
    (select coalesce({{ request_setting('as_of', 'bigint') }}, {{ still_standing() }} - 1))
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


{# The condition under which a row of a versioned table is true for the request. #}
{% macro is_true_for_request(alias) -%}
    {{ alias }}.valid_from <= {{ request_as_of() }} and {{ alias }}.valid_to > {{ request_as_of() }}
{%- endmacro %}
