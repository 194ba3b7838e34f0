{#- the chi-squared test is an approximation, which needs this many expected messages of each campaign -#}
{%- set min_expected = 5 %}
{#- a split that is this unlikely has a cause: the usual level of such warnings, far below that of the comparison -#}
{%- set mismatch_level = 0.001 %}

with compared_campaigns as (
    select * from {{ ref('int_compared_campaigns') }}
),

planned as (
    select
        share::numeric as share,
        position
    from jsonb_array_elements_text({{ request_expected_shares() }}) with ordinality as planned (share, position)
),

splits as (
    select
        compared_campaigns.workspace_id,
        compared_campaigns.sent,
        sum(compared_campaigns.sent) over (partition by compared_campaigns.workspace_id)
        * planned.share / sum(planned.share) over (partition by compared_campaigns.workspace_id) as expected
    from compared_campaigns
    inner join planned on compared_campaigns.position = planned.position
),

deviations as (
    select
        workspace_id,
        count(*) < 2 or min(expected) < {{ min_expected }} as is_too_small,
        count(*) - 1 as degrees_of_freedom,
        sum(power(sent - expected, 2) / nullif(expected, 0))::float8 as chi_squared
    from splits
    group by workspace_id
),

tested as (
    select
        workspace_id,
        case
            when not is_too_small then {{ chi_squared_upper_tail('chi_squared', 'degrees_of_freedom') }}
        end as p_value
    from deviations
)

select
    workspace_id,
    p_value,
    coalesce(p_value < {{ mismatch_level }}, false) as is_mismatch
from tested
