{# The times that decide on which day a delivered message counts. One that was not delivered can only count as bounced. #}
{% macro times_of_counts() -%}
    first_delivered_at, first_opened_at, first_clicked_at, first_replied_at, first_complained_at, first_unsubscribed_at,
    first_human_opened_at, first_human_clicked_at
{%- endmacro %}


{# The condition that a sent message has an event that makes it count on another day (UTC) than that of sending. Most have none. #}
{% macro counts_on_another_day() -%}
    {%- set last = 'case when is_delivered then greatest(' ~ times_of_counts() ~ ') else first_bounced_at end' -%}
    {%- set first = 'case when is_delivered then least(' ~ times_of_counts() ~ ') else first_bounced_at end' -%}
    (
        {{ last }} >= (sent_date + 1)::timestamp at time zone 'UTC'
        or {{ first }} < sent_date::timestamp at time zone 'UTC'
    )
{%- endmacro %}


{# The day of sending and the days (UTC) of the events that make a message count: a row each, for the fan_out of a rollup. #}
{% macro event_dates_of_message() -%}
    (
        select
            days.event_date,
            days.event_date::timestamp at time zone 'UTC' as day_starts_at,
            (days.event_date + 1)::timestamp at time zone 'UTC' as day_ends_at
        from (
            select distinct (counted.counted_at at time zone 'UTC')::date as event_date
            from
                unnest(
                    case
                        when is_delivered then array[sent_at, {{ times_of_counts() }}]
                        else array[sent_at, first_bounced_at]
                    end
                ) as counted (counted_at)
            where counted.counted_at is not null
        ) as days
    ) as event_dates
{%- endmacro %}


{# How much a message adds to a count on one of its days: 1 on the day of the time that decides, and -1 on that of sending. #}
{% macro shift_of_count(count, time) -%}
    case
        when is_{{ count }}
            then ({{ time }} >= day_starts_at and {{ time }} < day_ends_at)::int - (event_date = sent_date)::int
    end
{%- endmacro %}
