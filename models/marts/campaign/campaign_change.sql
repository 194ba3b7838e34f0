with periods as (
    select * from {{ ref('int_campaign_periods') }}
),

this_period as (
    select * from periods
    where not is_previous
),

previous_period as (
    select * from periods
    where is_previous
)

select
    this_period.workspace_id,
    this_period.campaign_id,
    {{
    changes(
        counts=public_names(campaign_counts() + human_counts()),
        rates=campaign_rates() + human_rates() + ['human_coverage'],
    )
    }}
from this_period
inner join previous_period
    on
        this_period.workspace_id = previous_period.workspace_id
        and this_period.campaign_id = previous_period.campaign_id
