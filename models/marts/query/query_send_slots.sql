{{ query_view('send_slots', [ref('fct_send_slots')]) }}
