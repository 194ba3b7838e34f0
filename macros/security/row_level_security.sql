{#
    Row-level security of a core table. The API and the worker see the rows of the workspace that the transaction names, and none
    if it names none. nullif(…, ''), because a setting that was set once and reset is '', which is no workspace. Analysts see all
    workspaces, or the one that the owner has bound their login to. The owner is not subject to it. Applied by finish_versioned()
    in macros/versioning/finish_model.sql.
#}
{% macro isolate_tenants(relation) -%}
    {%- if is_distributed() -%} {{ return(isolate_tenants_on_nodes(relation)) }} {%- endif -%}
    alter table {{ relation }} enable row level security;
    create policy tenant_isolation on {{ relation }} for select to mailmart_api, mailmart_worker
    using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
    create policy all_tenants on {{ relation }} for select to mailmart_analyst using (true);
    create policy analyst_workspace on {{ relation }} for select to mailmart_workspace_analyst
    using (workspace_id = (select app.analyst_workspace_id()));
{%- endmacro %}


{# Row-level security of a table without workspaces, such as the bounce reasons: every role that reads core reads all of it. #}
{% macro allow_public_read(relation) -%}
    alter table {{ relation }} enable row level security;
    create policy public_read on {{ relation }} for select using (true);
{%- endmacro %}


{# Post-hook of every mart: the view runs with the caller's privileges, so the policies of its tables apply. #}
{% macro read_as_invoker() -%}
    alter view {{ this }} set (security_invoker = true)
{%- endmacro %}
