{# The condition that a version of a row is the one that the request sees. `has_workspace`: whether the table has workspaces. #}
{% macro is_visible_as_of(alias, has_workspace=true) -%}
    {{ alias }}.valid_from <= {{ request_as_of() }} and {{ alias }}.valid_to > {{ request_as_of() }}
    {{- and_in_requested_workspace(alias) if has_workspace }}
{%- endmacro %}


{# The condition that a day is in the window. #}
{% macro is_in_window(day) -%}
    {{ day }} between {{ request_range_start() }} and {{ request_range_end() }}
{%- endmacro %}


{# The condition that a date is in the period that the window is compared with. #}
{% macro is_in_previous_period(day) -%}
    {{ day }} between {{ request_previous_start() }} and {{ request_previous_end() }}
{%- endmacro %}


{# The condition that a campaign is among the requested ones: in campaign_ids and equal to campaign_id, if these are set. #}
{% macro is_requested_campaign(campaign_id) -%}
    coalesce({{ request_campaign_ids() }} ? {{ campaign_id }}, true)
    and {{ campaign_id }} = coalesce({{ request_campaign_id() }}, {{ campaign_id }})
{%- endmacro %}


{#
    A query of the visible rows of a fact: those of the requested campaign, or all rows if the request names none. It is a union
    of parts of which only one runs, and each can use the fact's index. One condition with OR could use no index, and a join
    with the campaigns would look up each row.

    `of_all` is the fact's rollup over campaigns, if there is one: it is read if the request names no campaign. `of_workspace` is that
    over campaigns, mailboxes and domains, which are '' in its rows: it is read if the request names no domain either.
#}
{% macro filter_by_requested_campaign(fact, columns, where, of_all=none, of_workspace=none) -%}
{%- set campaign = request_campaign_id() -%}
{%- set and_domain = ' and ' ~ request_domain_id() ~ ' is ' -%}
{%- set parts = [
    (fact, campaign ~ ' is not null\n        and campaign_id = ' ~ campaign),
    (of_all or fact, campaign ~ ' is null' ~ (and_domain ~ 'not null' if of_workspace else '')),
] -%}
{%- if of_workspace -%} {%- do parts.append((of_workspace, campaign ~ ' is null' ~ and_domain ~ 'null')) -%} {%- endif -%}
{#- the first half has `is not null`, too: otherwise it can read a whole workspace, by its other index, to find nothing -#}
{%- for relation, condition in parts %}
    select
        {%- for column in columns %}
        {{ "'' as " if relation == of_workspace and column in ['mailbox_id', 'domain_id'] }}{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ relation }} as fact
    where
        {{ is_visible_as_of('fact') }}
        and {{ where }}
        and {{ condition }}
    {{- '\n    union all' if not loop.last }}
{%- endfor %}
{%- endmacro %}


{# The domain of cells that are joined with their mailboxes: the mailbox's own, else the one that the messages name. #}
{% macro domain_of(cells, mailboxes) -%}
    coalesce(nullif({{ mailboxes }}.domain_id, ''), {{ cells }}.domain_id)
{%- endmacro %}


{#
    The condition that the domain of cells (as domain_of() has it) is the requested one, if the request names one. The query has the
    CTE `mailboxes`. No join: the planner takes the cells for a few, and would compare each with all mailboxes. PostgreSQL hashes
    the subqueries, and runs them only if the request names a domain.
#}
{% macro is_requested_domain(cells) -%}
    (
        {{ request_domain_id() }} is null
        or ({{ cells }}.workspace_id, {{ cells }}.mailbox_id) in (
            select
                mailboxes.workspace_id,
                mailboxes.mailbox_id
            from mailboxes
            where mailboxes.domain_id = {{ request_domain_id() }}
        )
        or (
            {{ cells }}.domain_id = {{ request_domain_id() }}
            and ({{ cells }}.workspace_id, {{ cells }}.mailbox_id) not in (
                select
                    mailboxes.workspace_id,
                    mailboxes.mailbox_id
                from mailboxes
                where mailboxes.domain_id <> ''
            )
        )
    )
{%- endmacro %}
