{#
    The SQL of a view that POST /analytics/query reads: the visible rows of a fact in the window, with a column for each dimension and
    each measure of its semantic model. The measures are those of the rows: the API sums them.

    name    The semantic model, whose `model` is this view.
    facts   The fact, [ref('fct_…')]; or several selects whose rows are added up, each of one fact. No union in one select: the
            planner would hand each row through three more nodes.
    joins   Dimension tables: {'mailboxes': ref('dim_mailboxes')}. The name is the table's, without dim_, and its alias in
            expressions: with_lookups().

    With mailmart.compare_days the view has two periods: the window (`current`) and the one that lies so many days before it
    (`previous`), whose days are moved into the window. Two halves and no OR, so that each is a range of the fact's index; without the
    setting the second one does not run.
#}
{% macro query_view(name, facts, joins={}) -%}
{%- if not execute -%}
select 1 as parsed
{%- else -%}
{%- if 'semantic_models' not in graph -%}
    {%- do stop('A unit test cannot build the view of a query: dbt shows it no semantic models.') -%}
{%- endif -%}
{%- if facts is string or facts is mapping -%}
    {%- do stop("query_view('" ~ name ~ "', …) needs a list of facts, such as [ref('fct_campaign_days')].") -%}
{%- endif -%}
{%- do check_semantic_layer() -%}
{%- set semantic_model = semantic_model_named(name) -%}
{%- set meta = semantic_model.config.meta -%}
{%- set columns = query_view_columns(semantic_model) -%}
{%- for period in ['current', 'previous'] -%}
{%- set is_last_period = loop.last -%}
{%- for fact in facts %}
select
    {%- for column in columns %}
    ({{ with_lookups(column.sql, joins) if column.sql else time_column_sql(column.name, meta, period) }})::{{ column.data_type }} as {{ column.name }}
    {{- ',' if not loop.last }}
    {%- endfor %}
from {{ fact }} as fact
where
    {{ is_visible_as_of('fact') }}
    and {{ is_in_period('fact.' ~ meta.time_column, meta, period) }}
{{- '\nunion all' if not (loop.last and is_last_period) }}
{%- endfor %}
{%- endfor %}
{%- endif -%}
{%- endmacro %}


{#
    An expression in which `mailboxes.domain_id` is the value of the visible row of dim_mailboxes that has the fact's key, or null.

    No join: the planner takes the rows of a fact for a few, and compares each with all mailboxes. This makes one map of the table
    for a query, and none for a query that does not use the column.
#}
{% macro with_lookups(sql, joins) -%}
    {%- set replaced = namespace(sql=sql) -%}
    {%- for table, relation in joins.items() -%}
        {%- set node = graph.nodes['model.' ~ project_name ~ '.dim_' ~ table] -%}
        {%- set key = node.config.unique_key -%}
        {%- for column in modules.re.findall('\\b' ~ table ~ '\\.([a-z_0-9]+)\\b', sql) if column not in node.columns -%}
            {%- do stop(
                'the sql of a dimension is ' ~ sql ~ ', but dim_' ~ table ~ ' has no column ' ~ column ~ '. It has: '
                ~ node.columns.keys() | join(', ') ~ '.'
            ) -%}
        {%- endfor -%}
        {%- set value -%}
        ((
            select jsonb_object_agg({{ map_key('versions', key) }}, versions.\1)
            from {{ relation }} as versions
            where {{ is_visible_as_of('versions') }}
        ) ->> ({{ map_key('fact', key) }}))
        {%- endset -%}
        {%- set replaced.sql = modules.re.sub('\\b' ~ table ~ '\\.([a-z_0-9]+)\\b', value, replaced.sql) -%}
    {%- endfor -%}
    {{ return(replaced.sql) }}
{%- endmacro %}


{# A key of several columns as one text. No id has the character between them. #}
{% macro map_key(alias, key) -%}
    {%- for column in key -%} {{ alias }}.{{ column }}{{ ' || chr(31) || ' if not loop.last }} {%- endfor -%}
{%- endmacro %}


{# The condition that a row's day or slot is in the window, or in the one before it. #}
{% macro is_in_period(time, meta, period) -%}
    {%- set first, last = days_of_period(period) -%}
    {%- if period == 'previous' -%}
    {{ request_compare_days() }} is not null
    and {% endif -%}
    {%- if meta.resolution_minutes is defined -%}
    {#- as subqueries, which are computed once, and not for each row -#}
    {{ time }} >= (select {{ first }}::timestamp at time zone {{ query_timezone() }})
    and {{ time }} < (select ({{ last }} + 1)::timestamp at time zone {{ query_timezone() }})
    {%- else -%}
    {{ time }} between {{ first }} and {{ last }}
    {%- endif -%}
{%- endmacro %}


{# The first and the last day of a period, as expressions. #}
{% macro days_of_period(period) -%}
    {%- set first, last = request_range_start(), request_range_end() -%}
    {%- if period == 'previous' -%}
        {%- set before = ' - ' ~ request_compare_days() ~ ')' -%}
        {{ return(('(' ~ first ~ before, '(' ~ last ~ before)) }}
    {%- endif -%}
    {{ return((first, last)) }}
{%- endmacro %}


{#
    The time of a slot on the clock of the zone. A zone is looked up for each row, which takes PostgreSQL longer than all else of it.
    So it is an interval if its offset is the same all through the period: computed once, and null if it is not. A time in a null
    zone is null, and then the zone is looked up.
#}
{% macro local_time_of_slot(time, period) -%}
    {%- set first, last = days_of_period(period) -%}
coalesce(
        {{ time }} at time zone (
            select case when count(distinct clock.utc_offset) = 1 then min(clock.utc_offset) end
            from (
                select (midnight at time zone {{ query_timezone() }}) - (midnight at time zone 'UTC') as utc_offset
                from generate_series(
                    ({{ first }} - 1)::timestamp at time zone 'UTC', ({{ last }} + 2)::timestamp at time zone 'UTC', interval '1 day'
                ) as midnight
            ) as clock
        ),
        {{ time }} at time zone {{ query_timezone() }}
    )
{%- endmacro %}


{# The zone of a query's days and hours. #}
{% macro query_timezone() -%}
    coalesce({{ request_timezone() }}, 'UTC')
{%- endmacro %}


{#
    The columns that every view has, from the time of a row. The days of the previous period are moved into the window. The first day
    of a week or a month is its first day in the window, as in all other responses.
#}
{% macro time_column_sql(name, meta, period) -%}
    {%- set has_hours = meta.resolution_minutes is defined -%}
    {%- set time = 'fact.' ~ meta.time_column -%}
    {%- set local_time = local_time_of_slot(time, period) if has_hours else time ~ '::timestamp' -%}
    {%- set at = local_time if period == 'current' else local_time ~ " + make_interval(days => " ~ request_compare_days() ~ ')' -%}
    {%- if name == 'period' -%} '{{ period }}'
    {%- elif name == 'day' -%} {{ at }}
    {%- elif name in ['week', 'month'] -%} greatest(date_trunc('{{ name }}', {{ at }})::date, {{ request_range_start() }})
    {%- elif name == 'hour' -%}
        {#- of the time itself: the local hour comes twice when clocks are set back -#}
        date_trunc(
            'hour', {{ time if period == 'current' else '(' ~ at ~ ') at time zone ' ~ query_timezone() }}, {{ query_timezone() }}
        )
    {%- elif name == 'weekday' -%} date_part('isodow', {{ at }})
    {%- elif name == 'hour_of_day' -%} date_part('hour', {{ at }})
    {%- endif -%}
{%- endmacro %}


{# The columns of a semantic model's view, in order: name, type, description and SQL; without SQL it is one of time. #}
{% macro query_view_columns(semantic_model) -%}
    {%- set columns = [{
        'name': 'workspace_id', 'sql': 'fact.workspace_id', 'data_type': 'text', 'description': 'The workspace.'
    }] -%}
    {%- for column in query_time_columns(semantic_model.config.meta.resolution_minutes is defined) -%}
        {%- do columns.append(column) -%}
    {%- endfor -%}
    {%- for dimension in semantic_model.dimensions if dimension.type == 'categorical' -%}
        {%- set meta = dimension.config.meta if dimension.config else {} -%}
        {%- do columns.append({
            'name': dimension.name,
            'sql': none if dimension.name in ['weekday', 'hour_of_day'] else meta.sql or 'fact.' ~ dimension.name,
            'data_type': meta.data_type or 'text',
            'description': dimension.description or '',
        }) -%}
    {%- endfor -%}
    {%- for measure in semantic_model.measures -%}
        {%- set meta = measure.config.meta if measure.config else {} -%}
        {%- do columns.append({
            'name': measure.expr or measure.name,
            'sql': meta.sql or 'fact.' ~ (measure.expr or measure.name),
            'data_type': meta.data_type or 'integer',
            'description': measure.description or '',
        }) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}


{# The columns that a view has from the time of a row. #}
{% macro query_time_columns(has_hours) -%}
    {%- set columns = [
        {'name': 'period', 'data_type': 'text', 'description': 'current, or previous: the period that the window is compared with.'},
        {'name': 'day', 'data_type': 'date', 'description': 'The day.'},
        {'name': 'week', 'data_type': 'date', 'description': 'The first day of the week (from Monday) in the window.'},
        {'name': 'month', 'data_type': 'date', 'description': 'The first day of the month in the window.'},
    ] -%}
    {%- if has_hours -%}
        {%- do columns.append({'name': 'hour', 'data_type': 'timestamptz', 'description': "The hour's first moment."}) -%}
    {%- endif -%}
    {{ return(columns) }}
{%- endmacro %}


{# Adds the columns of a query view to its contract, before it is built. The YAML has only those that all of these views have. #}
{% macro add_query_view_columns(model) -%}
    {%- for semantic_model in graph.semantic_models.values() if model.unique_id in semantic_model.depends_on.nodes -%}
        {%- for column in query_view_columns(semantic_model) if column.name not in model.columns -%}
            {%- do model.columns.update({column.name: {
                'name': column.name,
                'description': column.description,
                'data_type': column.data_type,
                'constraints': [],
                'quote': none,
                'config': {'meta': {}, 'tags': []},
            }}) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}
