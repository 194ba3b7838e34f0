{{ query_view('provider_days', [ref('fct_provider_days')]) }}
