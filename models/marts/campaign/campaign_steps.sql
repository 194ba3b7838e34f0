{%- set max_steps = 500 %}
{%- set counts = campaign_counts() + human_counts() %}

with step_days as not materialized (
    {{
        filter_by_requested_campaign(
            ref('fct_step_days'),
            columns=['workspace_id', 'campaign_id', 'sequence_id', 'step', 'variant'] + counts,
            where=is_in_window('sent_date'),
        )
    }}
),

totals as (
    select
        workspace_id,
        campaign_id,
        sequence_id,
        step,
        variant,
        {{ summed_counts('step_days', counts) }}
    from step_days
    group by workspace_id, campaign_id, sequence_id, step, variant
),

-- a sender who writes another step into each message has no steps
ranked as (
    select
        *,
        row_number() over (
            partition by workspace_id, campaign_id
            order by sent desc, sequence_id collate "C", step collate "C", variant collate "C"
        ) as place
    from totals
)

select
    workspace_id,
    campaign_id,
    nullif(sequence_id, '') as sequence_id,
    nullif(step, '') as step,
    nullif(variant, '') as variant,
    {{ public_counts(campaign_counts()) }},
    {{ public_rates(campaign_rates()) }},
    {{ public_counts(human_counts()) }},
    {{ public_rates(human_rates()) }}
from ranked
where place <= {{ max_steps }}
-- 10 comes after 9, and a step that is no number after those that are
order by
    workspace_id, campaign_id, sequence_id collate "C", substring(step from '^[0-9]{1,18}')::bigint nulls last, step collate "C",
    variant collate "C"
