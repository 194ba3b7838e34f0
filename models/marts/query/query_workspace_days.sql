{{ query_view('workspace_days', [ref('fct_workspace_days')]) }}
