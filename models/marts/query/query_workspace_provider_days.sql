{{ query_view('workspace_provider_days', [ref('fct_workspace_provider_days')]) }}
