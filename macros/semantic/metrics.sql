{#
    What the API may ask: the metrics of the project by name, with their SQL over summed measures. It is a part of the publication, so
    that Python picks columns and knows no expression.

    Each metric: name, label, description, unit, formula, columns (the measures that it needs), sql, change_sql, and of a share also
    low_sql and high_sql. `sql` reads a row of sums with these columns; `change_sql` the values "current" and "previous".
#}
{% macro query_metrics() -%}
    {%- set metrics = {} -%}
    {%- for metric in graph.metrics.values() if not metric_meta(metric).hidden -%}
        {%- do metrics.update({metric.name: query_metric(metric)}) -%}
    {%- endfor -%}
    {{ return(metrics) }}
{%- endmacro %}


{% macro query_metric(metric) -%}
    {%- set meta = metric_meta(metric) -%}
    {%- do check_metric(metric) -%}
    {%- set columns = metric_columns(metric) -%}
    {%- set entry = {
        'name': metric.name,
        'label': metric.label,
        'description': metric.description,
        'columns': columns,
        'formula': metric_formula(metric),
        'unit': 'percent' if metric.type == 'ratio' else 'number' if (meta.decimals | default(2)) else 'count',
    } -%}
    {%- if metric.type == 'ratio' -%}
        {%- set numerator = raw_metric_sql(metric_named(metric.type_params.numerator.name)) -%}
        {%- set denominator = raw_metric_sql(metric_named(metric.type_params.denominator.name)) -%}
        {%- set can_exceed_100 = meta.can_exceed_100 | default(false) -%}
        {%- set share = 'round(100.0 * ' ~ numerator ~ ' / nullif(' ~ denominator ~ ', 0), 2)' -%}
        {#- wide: a numerator that is no part of its denominator, which no data test checks, must not fail a request -#}
        {%- do entry.update({
            'sql': over_nothing(share, meta, 0) ~ '::numeric(18, 2)',
            'change_sql': '("current" - "previous")::numeric(18, 2)',
        }) -%}
        {%- if not can_exceed_100 -%}
            {%- for bound, sql in [
                ('low_sql', wilson_lower_bound(numerator, denominator)), ('high_sql', wilson_upper_bound(numerator, denominator)),
            ] -%}
                {%- do entry.update({
                    bound: 'case when ' ~ denominator ~ ' > 0 and ' ~ numerator ~ ' between 0 and ' ~ denominator
                        ~ ' then round(100 * ' ~ sql ~ ', 2) end::numeric(5, 2)'
                }) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- else -%}
        {%- if metric.type == 'simple' -%}
            {%- do entry.update({'unit': 'count', 'sql': raw_metric_sql(metric) ~ '::bigint'}) -%}
        {%- else -%}
            {%- set decimals = meta.decimals | default(2) -%}
            {%- set rounded = 'round(' ~ raw_metric_sql(metric) ~ ', ' ~ decimals ~ ')' -%}
            {%- set type = 'numeric(18, ' ~ decimals ~ ')' if decimals else 'bigint' -%}
            {%- do entry.update({'sql': over_nothing(rounded, meta, none) ~ '::' ~ type}) -%}
        {%- endif -%}
        {%- do entry.update({
            'change_sql': 'round(100.0 * ("current" - "previous") / nullif(abs("previous"), 0), 2)::numeric(18, 2)'
        }) -%}
    {%- endif -%}
    {{ return(entry) }}
{%- endmacro %}


{# An expression, or what `over_nothing` says in place of null: a number, or null itself. #}
{% macro over_nothing(sql, meta, default) -%}
    {%- set value = meta.over_nothing if 'over_nothing' in meta else default -%}
    {{ return(sql if value is none else 'coalesce(' ~ sql ~ ', ' ~ value ~ ')') }}
{%- endmacro %}


{# A metric as others use it: exact, and a ratio as a share of 1. #}
{% macro raw_metric_sql(metric) -%}
    {%- if metric.type == 'simple' -%}
        {{ return('"' ~ measure_column(metric.type_params.measure.name) ~ '"::numeric') }}
    {%- elif metric.type == 'ratio' -%}
        {{ return(
            '(' ~ raw_metric_sql(metric_named(metric.type_params.numerator.name))
            ~ ' / nullif(' ~ raw_metric_sql(metric_named(metric.type_params.denominator.name)) ~ ', 0))'
        ) }}
    {%- endif -%}
    {#- first every name by a mark, then every mark by its SQL, which contains names of its own -#}
    {%- set marked = namespace(sql=metric.type_params.expr) -%}
    {%- for input in metric.type_params.metrics -%}
        {%- set marked.sql = modules.re.sub('\\b' ~ (input.alias or input.name) ~ '\\b', '\x00' ~ loop.index ~ '\x00', marked.sql) -%}
    {%- endfor -%}
    {%- for input in metric.type_params.metrics -%}
        {%- set marked.sql = marked.sql | replace('\x00' ~ loop.index ~ '\x00', raw_metric_sql(metric_named(input.name))) -%}
    {%- endfor -%}
    {{ return('(' ~ marked.sql ~ ')') }}
{%- endmacro %}


{# The columns of measures that a metric is computed from, in order of the alphabet. #}
{% macro metric_columns(metric) -%}
    {%- set columns = [] -%}
    {%- if metric.type == 'simple' -%}
        {%- do columns.append(measure_column(metric.type_params.measure.name)) -%}
    {%- endif -%}
    {%- for input in metric_inputs(metric) -%}
        {%- do columns.extend(metric_columns(metric_named(input.name))) -%}
    {%- endfor -%}
    {{ return(columns | unique | sort) }}
{%- endmacro %}


{# The metrics that a ratio or a derived metric is made of. #}
{% macro metric_inputs(metric) -%}
    {%- if metric.type == 'ratio' -%}
        {{ return([metric.type_params.numerator, metric.type_params.denominator]) }}
    {%- endif -%}
    {{ return((metric.type_params.metrics or []) if metric.type == 'derived' else []) }}
{%- endmacro %}


{# How a reader of a response would write the metric; '' for a count. #}
{% macro metric_formula(metric) -%}
    {%- if metric.type == 'ratio' -%}
        {{ return(metric.type_params.numerator.name ~ ' / ' ~ metric.type_params.denominator.name) }}
    {%- endif -%}
    {{ return(metric.type_params.expr | trim if metric.type == 'derived' else '') }}
{%- endmacro %}


{# The SQL of a metric over the columns of a query that are named as the measures, for a mart that shows it. #}
{% macro metric_sql(name) -%}
    {%- if execute -%} {{ query_metric(metric_named(name)).sql }} {%- else -%} 0 {%- endif -%}
{%- endmacro %}


{# The names of the metrics that can be computed from these columns of measures: by what a list of rows with them can be sorted. #}
{% macro metrics_of_columns(columns) -%}
    {%- set names = [] -%}
    {%- for metric in query_metrics().values() if not metric.columns | reject('in', columns) | list -%}
        {%- do names.append(metric.name) -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}


{% macro metric_meta(metric) -%}
    {{ return(metric.config.meta or {}) }}
{%- endmacro %}


{% macro metric_named(name) -%}
    {%- for metric in graph.metrics.values() if metric.name == name -%}
        {{ return(metric) }}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error('There is no metric ' ~ name ~ '.') }}
{%- endmacro %}


{% macro semantic_model_named(name) -%}
    {%- for semantic_model in graph.semantic_models.values() if semantic_model.name == name -%}
        {{ return(semantic_model) }}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error(
        'There is no semantic model ' ~ name ~ '. query_view() needs one whose model is the view: see docs/how-to/analysts/query-metric.md.'
    ) }}
{%- endmacro %}


{# The column of a measure: dbt wants measures to have different names, but the same count is the same column in each view. #}
{% macro measure_column(name) -%}
    {%- for semantic_model in graph.semantic_models.values() -%}
        {%- for measure in semantic_model.measures if measure.name == name -%}
            {{ return(measure.expr or measure.name) }}
        {%- endfor -%}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error('There is no measure ' ~ name ~ '.') }}
{%- endmacro %}
