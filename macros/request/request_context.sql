{#
    The request context. Only these macros read the settings mailmart.*, which the API sets with SET LOCAL. Without settings, a
    mart shows the current rows of the last 30 days, of all campaigns.

    Each macro is an expression `(select …)`. Under row-level security a bare current_setting() is never an index condition:
    189 ms in place of 0.7. nullif(…, ''), because a setting that was set once and reset is ''.
#}

{% macro request_setting(name, type) -%}
    nullif(current_setting('mailmart.{{ name }}', true), '')::{{ type }}
{%- endmacro %}


{# The batch as of which rows are read; default: the current rows. #}
{% macro request_as_of() -%}
    (select coalesce({{ request_setting('as_of', 'bigint') }}, {{ open_ended() }} - 1))
{%- endmacro %}


{# The first date of the window (UTC). #}
{% macro request_range_start() -%}
    (select coalesce({{ request_setting('range_start', 'date') }}, (now() at time zone 'UTC')::date - 30))
{%- endmacro %}


{# The last date of the window (UTC). #}
{% macro request_range_end() -%}
    (select coalesce({{ request_setting('range_end', 'date') }}, (now() at time zone 'UTC')::date))
{%- endmacro %}


{# The first date of the previous period: as many dates as the window has, directly before it. Not before year 1: clients have none. #}
{% macro request_previous_start() -%}
    (select greatest({{ request_range_start() }} - ({{ request_range_end() }} - {{ request_range_start() }}) - 1, date '0001-01-01'))
{%- endmacro %}


{# The last date of the previous period. #}
{% macro request_previous_end() -%}
    (select greatest({{ request_range_start() }} - 1, date '0001-01-01'))
{%- endmacro %}


{# How many days before the window the period lies that it is compared with; null: it is not compared. #}
{% macro request_compare_days() -%}
    (select {{ request_setting('compare_days', 'integer') }})
{%- endmacro %}


{# The size of a bucket: day, week (ISO, from Monday) or month. #}
{% macro request_group_by() -%}
    (select coalesce({{ request_setting('group_by', 'text') }}, 'day'))
{%- endmacro %}


{# The date of the bucket that a day, a timestamp, is in: the first day of the bucket that is in the window. #}
{% macro bucket_start(day) -%}
    greatest(date_trunc({{ request_group_by() }}, {{ day }})::date, {{ request_range_start() }})
{%- endmacro %}


{# Select: the dates of all buckets of the window. #}
{% macro request_buckets() -%}
    select distinct {{ bucket_start('day') }} as date
    -- timestamps: a series of dates steps in the session's zone, and loses a day if its clocks change at midnight
    from generate_series({{ request_range_start() }}::timestamp, {{ request_range_end() }}::timestamp, interval '1 day') as day
{%- endmacro %}


{# The requested campaign; null: all. #}
{% macro request_campaign_id() -%}
    (select {{ request_setting('campaign_id', 'text') }})
{%- endmacro %}


{# The requested sending domain; null: all. #}
{% macro request_domain_id() -%}
    (select {{ request_setting('domain_id', 'text') }})
{%- endmacro %}


{# The requested status of campaigns; null: all. #}
{% macro request_campaign_status() -%}
    (select {{ request_setting('campaign_status', 'text') }})
{%- endmacro %}


{# The campaigns to compare or to export, a JSON array of ids; null: all. #}
{% macro request_campaign_ids() -%}
    (select {{ request_setting('campaign_ids', 'jsonb') }})
{%- endmacro %}


{# The rates to compare, a JSON array of names; default: all of them, in the order of rates(). #}
{% macro request_metrics() -%}
    (select coalesce({{ request_setting('metrics', 'jsonb') }}, '{{ compared_rates() | tojson }}'::jsonb))
{%- endmacro %}


{# The planned shares of the campaigns to compare, a JSON array of numbers in the order of campaign_ids; null: unknown. #}
{% macro request_expected_shares() -%}
    (select {{ request_setting('expected_shares', 'jsonb') }})
{%- endmacro %}


{# The requested time zone, an IANA name; null: each workspace's own. #}
{% macro request_timezone() -%}
    (select {{ request_setting('timezone', 'text') }})
{%- endmacro %}


{# The size of a heatmap's cells: period (four a day) or hour. #}
{% macro request_granularity() -%}
    (select coalesce({{ request_setting('granularity', 'text') }}, 'period'))
{%- endmacro %}


{# The request's workspace; null for an analyst, who sees all. #}
{% macro request_workspace_id() -%}
    (select {{ request_setting('workspace_id', 'text') }})
{%- endmacro %}
