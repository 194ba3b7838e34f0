-- Each metric of the API can be computed, of no mail too: a division by zero or a wrong name fails the build, not a request.
{%- set metrics = query_metrics() if execute else {} %}
{%- set columns = [] %}
{%- for metric in metrics.values() %}
    {%- do columns.extend(metric.columns) %}
{%- endfor %}
with sums as (
    {%- for number in [0, 1] %}
    select
        {%- for column in columns | unique %}
        {{ number }}::bigint as "{{ column }}",
        {%- endfor %}
        {{ number }} as number
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
),

-- materialized: otherwise nothing is computed, because the last condition is false
computed as materialized (
    select
        {%- for metric in metrics.values() %}
        {{ metric.sql }} as "{{ metric.name }}",
        {%- if metric.low_sql %}
        {{ metric.low_sql }} as "{{ metric.name }} low",
        {{ metric.high_sql }} as "{{ metric.name }} high",
        {%- endif %}
        {%- endfor %}
        number
    from sums
)

select * from computed
where number > 1
