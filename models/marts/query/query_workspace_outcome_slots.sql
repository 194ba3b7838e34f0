{%- set slots -%}
(
    {{ slots_with_outcomes(ref('fct_workspace_slots'), ref('fct_outcome_slots'), of_all=true) }}
)
{%- endset -%}

{{ query_view('workspace_outcome_slots', slots) }}
