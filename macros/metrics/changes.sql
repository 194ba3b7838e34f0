{#
    Columns: what changed from one row to another. Of a count, the change in per cent of the previous count, null if that is 0; of a
    rate or a score, the difference, in percentage points or points.

    counts, rates   Columns that both rows have.
    now, previous   The aliases of the rows.
#}
{% macro changes(counts, rates, now='this_period', previous='previous_period') -%}
    {%- for count in counts %}
    round(100.0 * ({{ now }}.{{ count }} - {{ previous }}.{{ count }}) / nullif({{ previous }}.{{ count }}, 0), 2)::numeric(18, 2) as {{ count }},
    {%- endfor %}
    {%- for rate in rates %}
    ({{ now }}.{{ rate }} - {{ previous }}.{{ rate }})::numeric(6, 2) as {{ rate }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
