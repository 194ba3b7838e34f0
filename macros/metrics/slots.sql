{# The quarter of an hour (UTC) in which a message was sent: the offsets of all time zones are multiples of it. #}
{% macro slot_of_sending() -%}
    date_bin('15 minutes', sent_at, timestamptz '2000-01-01 00:00:00+00')
{%- endmacro %}


{# The condition that a message is opened or clicked, and all of its opens or clicks are marked as a machine's. #}
{% macro is_by_machines(count) -%}
    (is_{{ count }} and is_human_{{ count }} is not true)
{%- endmacro %}


{# Select: slots of sending. `slots` is fct_send_slots, or with `of_all` fct_workspace_slots, which has no campaigns. #}
{% macro slots_of_sending(slots, where='true', of_all=false) -%}
select
    workspace_id,
    {%- if not of_all %}
    campaign_id,
    {%- endif %}
    slot_at,
    sent,
    {{ 'sent as delivered' if of_all else 'delivered' }},
    0 as bounced,
    0 as hard_bounced,
    opened,
    clicked,
    replied,
    0 as complained,
    0 as unsubscribed,
    opened as human_opened,
    clicked as human_clicked,
    valid_from,
    valid_to
from {{ slots }} as slots
where {{ where }}
{%- endmacro %}


{# Select: what the rows of fct_outcome_slots add to slots_of_sending(), with the same columns. #}
{% macro slots_of_outcomes(outcome_slots, where='true', of_all=false) -%}
select
    workspace_id,
    {%- if not of_all %}
    campaign_id,
    {%- endif %}
    slot_at,
    0 as sent,
    {{ '- bounced - undelivered' if of_all else '0' }} as delivered,
    bounced,
    hard_bounced,
    0 as opened,
    0 as clicked,
    0 as replied,
    complained,
    unsubscribed,
    - machine_opened as human_opened,
    - machine_clicked as human_clicked,
    valid_from,
    valid_to
from {{ outcome_slots }} as slots
where {{ where }}
{%- endmacro %}


{#
    Select: the slots of sending and their outcomes, whose rows are added up. `where`: which rows of both. No CTE: it would be
    computed before it is filtered.
#}
{% macro slots_with_outcomes(slots, outcome_slots, where='true', of_all=false) -%}
{{ slots_of_sending(slots, where, of_all) }}
union all
{{ slots_of_outcomes(outcome_slots, where, of_all) }}
{%- endmacro %}


{# The condition that a visible slot is in the window, whose ends are those of days in UTC. For `where` of slots_with_outcomes(). #}
{% macro is_visible_slot_in_window() -%}
    {{ is_visible_as_of('slots') }}
    and slots.slot_at >= {{ request_range_start() }}::timestamp at time zone 'UTC'
    and slots.slot_at < ({{ request_range_end() }} + 1)::timestamp at time zone 'UTC'
{%- endmacro %}
