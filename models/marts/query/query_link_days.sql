{{ query_view('link_days', [ref('fct_link_days')]) }}
