{#
    Row-level security of a core table. The API and the worker see the rows of the workspace that the transaction names,
    and none where it names none; analysts see all; the owner is not subject to it. An empty workspace id is no
    workspace: `nullif`, because a setting that was set once and reset reads ''.
#}
{% macro isolate_tenants(relation) -%}
    alter table {{ relation }} enable row level security;
    create policy tenant_isolation on {{ relation }} for select to mailmart_api, mailmart_worker
    using (workspace_id = (select nullif(current_setting('mailmart.workspace_id', true), '')));
    create policy all_tenants on {{ relation }} for select to mailmart_analyst using (true);
{%- endmacro %}


{# A table that belongs to no workspace, such as the reasons for bounces: all who may read core read all of it. #}
{% macro let_everybody_read(relation) -%}
    alter table {{ relation }} enable row level security;
    create policy public_read on {{ relation }} for select using (true);
{%- endmacro %}


{# Post-hook of every mart: the view reads as who asks, so the policies of the tables below hold for it. #}
{% macro read_as_invoker() -%}
    alter view {{ this }} set (security_invoker = true)
{%- endmacro %}
