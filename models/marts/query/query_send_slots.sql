{%- set slots -%}
(
    {{ slots_with_outcomes(ref('fct_send_slots'), ref('fct_outcome_slots')) }}
)
{%- endset -%}

{{ query_view('send_slots', slots) }}
