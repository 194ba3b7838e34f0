{#
    The app's tables are guarded like events: others write them, and PostgreSQL stores values that no answer can show. Each staging
    view reads them with these macros. What is lost by it is in its column `problems`, which dim_app_problems collects.
#}

{#
    A name, a status or another text: without control characters and marks of direction, trimmed, cut to 400 characters; null if
    nothing is left.
#}
{% macro clean_text(expression) -%}
    nullif(
        btrim(
            left(
                regexp_replace(
                    left({{ expression }}, 2000),
                    '[\u0001-\u0020\u007f-\u00a0\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+', ' ', 'g'
                ),
                400
            )
        ),
        ''
    )
{%- endmacro %}


{# The condition that a text is white space only. #}
{% macro is_blank(expression) -%}
    btrim({{ expression }}, e' \t\n\r') = ''
{%- endmacro %}


{# An id: '' if it is blank. Another one is not trimmed, because it has to equal the id in the events. #}
{% macro app_id(expression) -%}
    case when {{ clean_text(expression) }} is null then '' else {{ as_id(expression) }} end
{%- endmacro %}


{# A time of the years 1 to 9999, which Python and JSON can show; null for any other, infinity among them. #}
{% macro displayable_time(expression) -%}
    case
        when
            {{ expression }} >= timestamptz '0001-01-01 00:00:00+00'
            and {{ expression }} < timestamptz '10000-01-01 00:00:00+00'
            then {{ expression }}
    end
{%- endmacro %}


{# The condition that displayable_time() loses the time. #}
{% macro is_lost_time(expression) -%}
    {{ expression }} is not null and {{ displayable_time(expression) }} is null
{%- endmacro %}


{#
    The names of the problems of a row, with a space between them: the rows of a dbt unit test have no arrays.

    id          The row's own id; none for a row without one.
    workspace   The id of its workspace; none if the table has none.
    times       Columns that displayable_time() is applied to.
    others      Problem → condition.
#}
{% macro app_problems(id=none, workspace=none, times=[], others={}) -%}
    array_to_string(
        array[
            {%- if id is not none %}
            case when {{ app_id(id) }} = '' then 'no_id' end,
            case when {{ app_id(id) }} <> '' and {{ id }} <> btrim({{ id }}, e' \t\n\r') then 'padded_id' end,
            {%- endif %}
            {%- if workspace is not none %}
            case when {{ app_id(workspace) }} = '' then 'no_workspace' end,
            {%- endif %}
            {%- for problem, condition in others.items() %}
            case when {{ condition }} then '{{ problem }}' end,
            {%- endfor %}
            case
                when
                    {% for time in times %}({{ is_lost_time(time) }}){{ ' or ' if not loop.last }}{% else %}false{% endfor %}
                    then 'invalid_time'
            end
        ]::text[],
        ' '
    )
{%- endmacro %}
