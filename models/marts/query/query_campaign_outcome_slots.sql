{%- set facts = [
    '(' ~ slots_of_sending(ref('fct_send_slots')) ~ ')',
    '(' ~ slots_of_outcomes(ref('fct_outcome_slots')) ~ ')',
] -%}

{{ query_view('campaign_outcome_slots', facts) }}
