{#
    Stops a build whose semantic layer the API cannot read: each error says what is wrong and what to do. dbt checks the rest.

    Each view of a query calls it. The first one of a command checks all, and leaves a mark in the graph, which is that command's own.
#}
{% macro check_semantic_layer() -%}
    {%- if not graph.is_semantic_layer_checked -%}
        {%- for semantic_model in graph.semantic_models.values() -%}
            {%- do check_semantic_model(semantic_model) -%}
        {%- endfor -%}
        {%- for metric in graph.metrics.values() if not metric_meta(metric).hidden -%}
            {%- do check_metric(metric) -%}
        {%- endfor -%}
        {%- do graph.update({'is_semantic_layer_checked': true}) -%}
    {%- endif -%}
{%- endmacro %}


{% macro check_semantic_model(semantic_model) -%}
    {%- set where = 'semantic model ' ~ semantic_model.name ~ ': ' -%}
    {%- set meta = semantic_model.config.meta -%}
    {%- set known = ['basis', 'resolution_minutes', 'size', 'time_column'] -%}
    {%- do check_meta(meta, known, where) -%}
    {%- if meta.basis not in ['sent', 'event'] -%}
        {%- do stop(where ~ 'config.meta.basis is ' ~ meta.basis ~ '. Set it to sent (rows belong to the day of sending) or event.') -%}
    {%- endif -%}
    {%- if not meta.time_column -%}
        {%- do stop(where ~ 'config.meta.time_column is missing: the column of the fact that has its day, or its slot.') -%}
    {%- endif -%}
    {%- if meta.size is not number -%}
        {%- do stop(where ~ 'config.meta.size is missing: a number. Of two facts that can answer, the one with the smaller size does.') -%}
    {%- endif -%}
    {#- dbt gives to each dimension and measure the meta of its semantic model -#}
    {%- set known_of_element = known + ['data_type', 'sql'] -%}
    {%- set columns = ['workspace_id'] + (query_time_columns(true) | map(attribute='name') | list) -%}
    {%- for dimension in semantic_model.dimensions if dimension.type == 'categorical' -%}
        {%- do check_meta(dimension.config.meta if dimension.config else {}, known_of_element, where ~ 'dimension ' ~ dimension.name ~ ': ') -%}
        {%- if dimension.name in columns -%}
            {%- do stop(where ~ 'the dimension ' ~ dimension.name ~ ' has the name of a column that every view has. Rename it.') -%}
        {%- endif -%}
        {%- if dimension.name == 'hour_of_day' and meta.resolution_minutes is not defined -%}
            {%- do stop(where ~ 'it has no hours, so it cannot have the dimension hour_of_day. Remove it, or set resolution_minutes.') -%}
        {%- endif -%}
        {%- do columns.append(dimension.name) -%}
    {%- endfor -%}
    {%- for measure in semantic_model.measures -%}
        {%- do check_meta(measure.config.meta if measure.config else {}, known_of_element, where ~ 'measure ' ~ measure.name ~ ': ') -%}
        {%- if measure.agg != 'sum' -%}
            {%- do stop(where ~ 'the measure ' ~ measure.name ~ ' has agg: ' ~ measure.agg ~ '. Only sums can be summed again: set agg: sum.') -%}
        {%- endif -%}
        {%- set column = measure.expr or measure.name -%}
        {%- if not modules.re.fullmatch('[a-z][a-z0-9_]*', column) -%}
            {%- do stop(
                where ~ 'the expr of the measure ' ~ measure.name ~ ' is ' ~ column ~ ', which is no name. It is the column of the'
                ~ ' view; write SQL into config.meta.sql.'
            ) -%}
        {%- endif -%}
        {%- if column in columns -%}
            {%- do stop(where ~ 'the column ' ~ column ~ ' is there twice. Rename the measure ' ~ measure.name ~ ' or its expr.') -%}
        {%- endif -%}
        {%- do columns.append(column) -%}
    {%- endfor -%}
{%- endmacro %}


{% macro check_metric(metric) -%}
    {%- set where = 'metric ' ~ metric.name ~ ': ' -%}
    {%- set hide = ' To keep it out of the API, set config.meta.hidden: true.' -%}
    {%- set meta = metric_meta(metric) -%}
    {%- set known = {
        'simple': [], 'ratio': ['can_exceed_100', 'over_nothing'], 'derived': ['decimals', 'over_nothing'],
    } -%}
    {%- if metric.type not in known -%}
        {%- do stop(where ~ 'the API has no metrics of type ' ~ metric.type ~ ', only simple, ratio and derived.' ~ hide) -%}
    {%- endif -%}
    {%- do check_meta(meta, known[metric.type] + ['hidden'], where) -%}
    {%- if metric.name | length > 50 -%}
        {%- do stop(where ~ 'its name has more than 50 characters. Shorten it: a column has the name and a word more.') -%}
    {%- endif -%}
    {%- if not metric.description -%}
        {%- do stop(where ~ "it has no description. Add one: the API's users read it." ~ hide) -%}
    {%- endif -%}
    {%- if metric.filter or metric.type_params.measure.filter -%}
        {%- do stop(where ~ 'the API has no metrics with a filter. Add a measure that counts it, or a filter to the request.' ~ hide) -%}
    {%- endif -%}
    {%- for input in metric_inputs(metric) if input.filter or input.offset_window or input.offset_to_grain -%}
        {%- do stop(where ~ 'the API has no filter and no offset of the input ' ~ input.name ~ '.' ~ hide) -%}
    {%- endfor -%}
    {%- if metric.type == 'ratio' and metric.name in rates() -%}
        {%- set rate = rates()[metric.name] -%}
        {%- for part in ['numerator', 'denominator'] -%}
            {%- set here = raw_metric_sql(metric_named(metric.type_params[part].name)) | replace('::numeric', '') | replace('"', '') -%}
            {%- set there = rate[part] | string -%}
            {%- if here | replace('(', '') | replace(')', '') != there | replace('(', '') | replace(')', '') -%}
                {%- do stop(where ~ 'its ' ~ part ~ ' is ' ~ here ~ ', but ' ~ there ~ ' in macros/metrics/rates.sql. A rate has one definition.') -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{% macro check_meta(meta, known, where) -%}
    {%- for key in meta or {} if key not in known -%}
        {%- do stop(where ~ 'config.meta has the unknown key ' ~ key ~ '. Known: ' ~ (known | sort | join(', ') or 'none') ~ '.') -%}
    {%- endfor -%}
{%- endmacro %}


{% macro stop(message) -%}
    {%- do exceptions.raise_compiler_error(message) -%}
{%- endmacro %}
