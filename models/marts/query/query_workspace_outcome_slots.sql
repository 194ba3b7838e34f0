{%- set facts = [
    '(' ~ slots_of_sending(ref('fct_workspace_slots'), of_all=true) ~ ')',
    '(' ~ slots_of_outcomes(ref('fct_outcome_slots'), of_all=true) ~ ')',
] -%}

{{ query_view('workspace_outcome_slots', facts) }}
