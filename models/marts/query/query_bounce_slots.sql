{#- an outcome that is no bounce has no reason -#}
{%- set bounces -%}
(
    select
        workspace_id,
        campaign_id,
        slot_at,
        bounce_reason,
        bounced,
        valid_from,
        valid_to
    from {{ ref('fct_outcome_slots') }}
    where bounced > 0
)
{%- endset -%}

{{ query_view('bounce_slots', [bounces]) }}
