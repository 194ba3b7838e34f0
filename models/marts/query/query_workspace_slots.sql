{{ query_view('workspace_slots', [ref('fct_workspace_slots')]) }}
