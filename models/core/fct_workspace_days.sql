{%- set grain = ['workspace_id', 'sent_date'] %}

{{ config(unique_key=grain, indexes=[{'columns': grain}]) }}

{%- set measures = {'cells': {'count_if': 'true'}} %}
{%- for count in message_measures() %}
{%- do measures.update({count: {'sum': count, 'data_type': 'integer'}}) %}
{%- endfor %}

-- what is read of days if the request names no campaign or domain: a row a day, however many campaigns and mailboxes send
{{ incremental_rollup(grain, measures=measures, cluster_by=grain, where='true', fact='fct_campaign_days') }}
