{# The counts in the series of a workspace. #}
{% macro series_counts() -%}
    {{ return(workspace_counts() + ['bounced', 'complained'] + human_counts()) }}
{%- endmacro %}


{#
    The query of the series of a workspace, from two CTEs: a row for each bucket, of zeros if it has no mail. `buckets` has workspace_id
    and date; `totals` has series_counts() of those with mail.
#}
{% macro series_of_every_bucket(buckets, totals) -%}
select
    workspace_id,
    date,
    sent,
    delivered,
    opened,
    clicked,
    replied,
    bounced,
    complained as spam_complaints,
    {{ public_rates(workspace_rates() + ['bounce_rate'] + human_rates()) }}
from (
    select
        workspace_id,
        date,
        {{ counts_or_zero(totals, series_counts()) }}
    from {{ buckets }}
    left join {{ totals }} using (workspace_id, date)
) as complete
order by workspace_id, date
{%- endmacro %}
