{#
    CTEs that marts share: what the request is about. Each gives a CTE of the macro's name, without its comma.
#}

{#
    `workspaces`: those that the reader may see, and the one that the request names even if nothing is known of it yet: a new
    workspace has an overview of zeros.
#}
{% macro requested_workspaces() -%}
known_workspaces as (
    select
        workspace_id,
        timezone
    from {{ ref('dim_workspaces') }} as dim_workspaces
    where {{ is_visible_as_of('dim_workspaces') }}
),

workspaces as (
    select * from known_workspaces
    union all
    select
        named.workspace_id,
        'UTC' as timezone
    from (select {{ request_workspace_id() }} as workspace_id) as named
    left join known_workspaces on named.workspace_id = known_workspaces.workspace_id
    where named.workspace_id is not null and known_workspaces.workspace_id is null
)
{%- endmacro %}


{# `campaigns`: the campaign that the request names, or all. #}
{% macro requested_campaigns() -%}
campaigns as (
    select
        workspace_id,
        campaign_id,
        campaign_name
    from {{ ref('dim_campaigns') }} as dim_campaigns
    where
        {{ is_visible_as_of('dim_campaigns') }}
        and campaign_id = coalesce({{ request_campaign_id() }}, campaign_id)
)
{%- endmacro %}


{#
    The rows of a fact that are true for the request, inside its window, of the campaign that it names; or of all campaigns and of
    none. Of the two halves only one is ever run, and each keeps the fact's own index: written with OR neither would, and a join
    with the campaigns looks each row up among them.
#}
{% macro of_requested_campaign(fact, columns, inside) -%}
{%- for condition in ['campaign_id = ' ~ request_campaign_id(), request_campaign_id() ~ ' is null'] %}
    select
        {{ columns | join(',\n        ') }}
    from {{ ref(fact) }} as {{ fact }}
    where
        {{ is_visible_as_of(fact) }}
        and {{ inside }}
        and {{ condition }}
    {{- '\n    union all' if not loop.last }}
{%- endfor %}
{%- endmacro %}


{# The condition that a day is inside the window. #}
{% macro is_in_window(day) -%}
    {{ day }} between {{ request_range_start() }} and {{ request_range_end() }}
{%- endmacro %}


{# `campaign_days`: the cells of the window. #}
{% macro requested_campaign_days(columns) -%}
campaign_days as not materialized (
    select
        workspace_id,
        campaign_id,
        {{ columns | join(',\n        ') }}
    from {{ ref('fct_campaign_days') }} as fct_campaign_days
    where
        {{ is_visible_as_of('fct_campaign_days') }}
        and {{ is_in_window('sent_date') }}
)
{%- endmacro %}


{#
    `mailboxes`: each with its domain. A cell's domain is its mailbox's, else the messages' own; `is_of_requested_domain` is the
    condition that it is the one asked for.
#}
{% macro requested_mailboxes() -%}
mailboxes as (
    select
        workspace_id,
        mailbox_id,
        domain_id
    from {{ ref('dim_mailboxes') }} as dim_mailboxes
    where {{ is_visible_as_of('dim_mailboxes') }}
)
{%- endmacro %}


{% macro domain_of(cells) -%}
    coalesce(nullif(mailboxes.domain_id, ''), {{ cells }}.domain_id)
{%- endmacro %}


{% macro is_of_requested_domain(cells) -%}
    {{ domain_of(cells) }} = coalesce({{ request_domain_id() }}, {{ domain_of(cells) }})
{%- endmacro %}
