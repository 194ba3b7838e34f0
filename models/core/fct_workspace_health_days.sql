{%- set grain = ['workspace_id', 'health_date'] %}

{%- set factor_names = ['hard_bounce_rate', 'spam_complaint_rate', 'unsubscribe_rate', 'drop_of_sent'] %}

{{ config(unique_key=grain, indexes=[{'columns': grain}]) }}

{%- set measures = {'mailboxes': {'count_if': 'true'}, 'sent': {'sum': 'sent', 'data_type': 'bigint'}} %}
{%- for factor in factor_names %}
{%- do measures.update({
    factor ~ '_penalized': {'sum': penalized_messages(factor), 'data_type': 'numeric(38, 15)'}
}) %}
{%- endfor %}

-- what the health scores of a workspace are read from: a row a day, however many mailboxes there are
{{
    incremental_rollup(
        grain,
        measures=measures,
        cluster_by=grain,
        where='true',
        fact='fct_mailbox_health_days',
        fan_out=health_limits(ref('dim_health_score_factors'), factor_names),
        recount=has_changed_rows(ref('dim_health_score_factors')),
    )
}}
