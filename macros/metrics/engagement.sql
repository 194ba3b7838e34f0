{#
    CTEs of the heatmap, up to `hours`: what was sent in each hour of the local week (1 = Monday), of the campaign asked for
    or all, in the zone asked for or the workspace's own. Only hours in which something was sent.
#}
{% macro requested_hours() -%}
{{ requested_workspaces() }},

zones as (
    select
        workspace_id,
        coalesce({{ request_timezone() }}, timezone) as timezone
    from workspaces
),

slots as not materialized (
    {{
        of_requested_campaign(
            'fct_send_slots',
            ['workspace_id', 'slot_at', 'sent', 'delivered', 'opened', 'clicked', 'replied'],
            "slot_at >= " ~ request_range_start() ~ "::timestamp at time zone 'UTC'"
            ~ " and slot_at < (" ~ request_range_end() ~ " + 1)::timestamp at time zone 'UTC'",
        )
    }}
),

-- the campaigns' slots as one, before each is put on a local clock
summed_slots as (
    select
        slots.workspace_id,
        slots.slot_at,
        sum(slots.sent) as sent,
        sum(slots.delivered) as delivered,
        sum(slots.opened) as opened,
        sum(slots.clicked) as clicked,
        sum(slots.replied) as replied
    from slots
    group by slots.workspace_id, slots.slot_at
),

local_slots as (
    select
        summed_slots.*,
        summed_slots.slot_at at time zone zones.timezone as local_at
    from summed_slots
    inner join zones on summed_slots.workspace_id = zones.workspace_id
),

hours as (
    select
        workspace_id,
        extract(isodow from local_at)::int as weekday,
        extract(hour from local_at)::int as hour,
        sum(sent) as sent,
        sum(delivered) as delivered,
        sum(opened) as opened,
        sum(clicked) as clicked,
        sum(replied) as replied
    from local_slots
    group by 1, 2, 3
)
{%- endmacro %}


{# The engagement score, per cent of sent: a click weighs more than an open or a reply. Null over nothing. #}
{% macro engagement_score(cells) -%}
    (30 * {{ cells }}.opened + 40 * {{ cells }}.clicked + 30 * {{ cells }}.replied)::numeric / nullif({{ cells }}.sent, 0)
{%- endmacro %}


{# The English name of a day of the week, 1 = Monday. #}
{% macro weekday_name(weekday) -%}
    (array['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[{{ weekday }}]
{%- endmacro %}
