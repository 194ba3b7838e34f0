{# The engagement score, in per cent of the messages sent: a click weighs more than an open or a reply. Null over nothing. #}
{% macro engagement_score(counts) -%}
    (30 * {{ counts }}.opened + 40 * {{ counts }}.clicked + 30 * {{ counts }}.replied)::numeric / nullif({{ counts }}.sent, 0)
{%- endmacro %}


{# The English name of a day of the week, 1 = Monday. #}
{% macro weekday_name(weekday) -%}
    (array['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[{{ weekday }}]
{%- endmacro %}
