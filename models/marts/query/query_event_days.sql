{{ query_view('event_days', [ref('fct_event_days')]) }}
