{{ query_view('step_days', [ref('fct_step_days')]) }}
