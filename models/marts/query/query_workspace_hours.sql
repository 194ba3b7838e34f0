{{ query_view('workspace_hours', [ref('fct_workspace_hours')]) }}
