{#
    Delays are counted in buckets whose bounds are powers of 2 ** (1 / 4): percentiles come from sums of days and campaigns, and are
    off by less than 19 %. Bucket 0 is below a second, and what happened before it was sent, by another clock. Bucket n is from
    2 ** ((n - 1) / 4) to 2 ** (n / 4) seconds, the last one (93) from 97 days on.
#}
{% macro buckets_per_doubling() -%} {{ return(4) }} {%- endmacro %}


{% macro last_delay_bucket() -%} {{ return(93) }} {%- endmacro %}


{# The lower bound of bucket 1, of 2 and so on, in microseconds: whole ones, so that Python finds the same bucket. #}
{% macro delay_bounds() -%}
    {%- set bounds = [] -%}
    {%- for number in range(last_delay_bucket()) -%}
        {%- do bounds.append((1000000 * 2 ** (number / buckets_per_doubling())) | round | int) -%}
    {%- endfor -%}
    {{ return(bounds) }}
{%- endmacro %}


{# The bucket of an interval. #}
{% macro delay_bucket(delay) -%}
    width_bucket({{ delay }}, '{
        {%- for bound in delay_bounds() -%}
        {{ bound // 1000000 }}.{{ '%06d' | format(bound % 1000000) }}s{{ ',' if not loop.last }}
        {%- endfor -%}
    }'::interval[])::smallint
{%- endmacro %}


{#
    The delays of a delivered message, from sending: a row each, for the fan_out of a rollup. Not VALUES, whose expressions PostgreSQL
    prepares anew for each message; but Citus has no union of selects without a table.
#}
{% macro delays_of_message() -%}
    {%- set rows = [] -%}
    {%- for delay in ['delivered', 'opened', 'clicked', 'replied'] -%}
        {%- do rows.append(sql_literal(delay) ~ ', first_' ~ delay ~ '_at - sent_at') -%}
    {%- endfor -%}
    (
        {% if is_distributed() -%}
        values ({{ rows | join('), (') }})
        {%- else -%}
        select {{ rows | join('\n        union all\n        select ') }}
        {%- endif %}
    ) as delays (delay, elapsed)
{%- endmacro %}


{# Where a bucket begins and ends, in seconds; the last one has no end. #}
{% macro delay_bucket_start(bucket) -%}
    case when {{ bucket }} = 0 then 0 else power(2::float8, ({{ bucket }} - 1) / {{ buckets_per_doubling() }}.0::float8) end
{%- endmacro %}


{% macro delay_bucket_end(bucket) -%}
    case when {{ bucket }} < {{ last_delay_bucket() }} then power(2::float8, {{ bucket }} / {{ buckets_per_doubling() }}.0::float8) end
{%- endmacro %}


{#
    The delay, in seconds, of the message at `rank` (from 1) of those in order, which is the one of `place` (from 1) of the `messages` in
    its bucket: as if these were spread evenly over the bucket, by logarithms. In bucket 0 evenly, and in the last one at its start.
#}
{% macro delay_in_bucket(bucket, place, messages) -%}
    case
        when {{ bucket }} = 0 then ({{ place }} - 0.5) / {{ messages }}
        when {{ bucket }} = {{ last_delay_bucket() }} then {{ delay_bucket_start(bucket) }}
        else power(2::float8, ({{ bucket }} - 1 + ({{ place }} - 0.5) / {{ messages }}) / {{ buckets_per_doubling() }}.0::float8)
    end
{%- endmacro %}
