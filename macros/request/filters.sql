{# The condition that a version of a row is the one that the request sees. #}
{% macro is_visible_as_of(alias) -%}
    {{ alias }}.valid_from <= {{ request_as_of() }} and {{ alias }}.valid_to > {{ request_as_of() }}
{%- endmacro %}


{# The condition that a day is in the window. #}
{% macro is_in_window(day) -%}
    {{ day }} between {{ request_range_start() }} and {{ request_range_end() }}
{%- endmacro %}


{# The condition that a campaign is among the requested ones: in campaign_ids and equal to campaign_id, if these are set. #}
{% macro is_requested_campaign(campaign_id) -%}
    coalesce({{ request_campaign_ids() }} ? {{ campaign_id }}, true)
    and {{ campaign_id }} = coalesce({{ request_campaign_id() }}, {{ campaign_id }})
{%- endmacro %}


{#
    A query of the visible rows of a fact: those of the requested campaign, or all rows if the request names none. It is a union
    of two halves of which only one runs, and each can use the fact's index. One condition with OR could use no index, and a join
    with the campaigns would look up each row.
#}
{% macro filter_by_requested_campaign(fact, columns, where) -%}
{%- for campaign in ['campaign_id = ' ~ request_campaign_id(), request_campaign_id() ~ ' is null'] %}
    select
        {{ columns | join(',\n        ') }}
    from {{ fact }} as fact
    where
        {{ is_visible_as_of('fact') }}
        and {{ where }}
        and {{ campaign }}
    {{- '\n    union all' if not loop.last }}
{%- endfor %}
{%- endmacro %}


{# The domain of cells that are joined with their mailboxes: the mailbox's own, else the one that the messages name. #}
{% macro domain_of(cells, mailboxes) -%}
    coalesce(nullif({{ mailboxes }}.domain_id, ''), {{ cells }}.domain_id)
{%- endmacro %}


{# The condition that this domain is the requested one, if the request names one. #}
{% macro is_requested_domain(cells, mailboxes) -%}
    {{ domain_of(cells, mailboxes) }} = coalesce({{ request_domain_id() }}, {{ domain_of(cells, mailboxes) }})
{%- endmacro %}
