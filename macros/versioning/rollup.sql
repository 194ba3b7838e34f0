{#
    An incremental rollup of a fact, by default of fct_messages: one row for each combination of the `grain` columns, which are the
    model's unique_key, with measures of its messages.

    No message is read twice. A run adds the versions of messages inserted since the model's last run to the current rows, and
    subtracts those that expired since. So it costs what is new, and a message that moved leaves its old row.

    grain        The columns.
    measures     Name → what is added up:
                     {'count_if': condition}                      the number of messages that meet the condition
                     {'sum': expression, 'data_type': 'bigint'}   the sum over the messages; null adds nothing
                     {'max': expression}                          the largest; stays until the row is counted from nothing
                 The first one is {'count_if': 'true'}: a row in which it falls to 0 is deleted. A sum needs an exact type
                 (integer, bigint, numeric): what is added to a float cannot be subtracted without an error.
    cluster_by   The columns by which a first build orders the rows: a time among them first of all, as later builds order by
                 themselves. Then a window is a range of the table's pages; unordered, each of its rows is on a page of its own.
    where        Which messages are in the rollup at all.

    If retention has removed messages, `recompute: true` cannot count from nothing: it would lose what was removed. Then it adds and
    subtracts like any other run. A row all of whose messages are still there is counted again, too.

    expressions  Grain columns that are no column of the fact: name → expression.
    fan_out      A lateral query with its alias, of which each row of a message is counted as the message would be: its rows depend on
                 nothing but the message's columns.
    fact         The name of the fact.
    recount      Whether to count all rows again, because the measures have changed. For a fact of which retention removes nothing.
#}
{% macro incremental_rollup(
    grain, measures, cluster_by, where='is_sent', expressions={}, fact='fct_messages', fan_out=none, recount=false
) -%}
{%- set recounts = recounts_with_removed_rows(fact) -%}
{%- set recount = recount and is_incremental_run() -%}
{%- set is_incremental_run = (is_incremental_run() or recounts) and not recount -%}
{%- set message_count = measures | first -%}
{%- if measures[message_count].get('count_if') != 'true' -%}
    {{ exceptions.raise_compiler_error("the first measure of a rollup is {'count_if': 'true'}, and " ~ message_count ~ " is not") }}
{%- endif -%}
with messages as not materialized (
    {{ changed_versions(ref(fact), where, is_incremental_run, fan_out) | indent }}
),

changes as (
    {{ grouped_measures('messages', grain, measures, expressions, has_changes=is_incremental_run) | indent }}
),

{% if recounts -%}
current_messages as not materialized (
    {{ changed_versions(ref(fact), where, false, fan_out) | indent }}
),

counted as (
    {{ grouped_measures('current_messages', grain, measures, expressions, has_changes=false) | indent }}
),

{% endif -%}
{% if is_incremental_run -%}
current_rows as (
    select * from {{ this }}
    where {{ is_current() }}
),

{{ 'updated' if recounts else 'totals' }} as (
    select
        {{ grain | join(',\n        ') }},
        {%- for name, measure in measures.items() %}
        {%- if 'max' in measure %}
        greatest(changes.{{ name }}, current_rows.{{ name }}) as {{ name }}
        {%- else %}
        -- null in a row that is older than the measure: unknown until a build with `recompute: true`
        {{ 'coalesce(changes.' ~ name ~ ', 0)' if recounts else 'changes.' ~ name }}
        + case when current_rows.valid_to is null then 0 else current_rows.{{ name }} end as {{ name }}
        {%- endif %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from changes
    {# a row that is not returned would be deleted by a recomputation -#}
    {{ 'full' if recounts else 'left' }} join current_rows using ({{ grain | join(', ') }})
)
{%- if recounts %},

totals as (
    select
        {{ grain | join(',\n        ') }},
        {%- for name in measures %}
        case when counted.{{ message_count }} = updated.{{ message_count }} then counted.{{ name }} else updated.{{ name }} end as {{ name }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from updated
    left join counted using ({{ grain | join(', ') }})
)
{%- endif %}
{%- elif recount -%}
-- a row that is not returned would stay as it is
totals as (
    select
        {{ grain | join(',\n        ') }},
        {%- for name in measures %}
        coalesce(changes.{{ name }}, 0) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from changes
    full join (
        select * from {{ this }}
        where {{ is_current() }}
    ) as current_rows using ({{ grain | join(', ') }})
)
{%- else -%}
totals as (
    select * from changes
)
{%- endif %}

select
    *,
    {{ batch_id() }}::bigint as valid_from,
    {{ valid_to_or_tombstone(message_count ~ ' = 0') }} as valid_to
from totals
{%- if not is_incremental_run and not recount %}
order by {{ cluster_by | join(', ') }}
{%- endif %}
{%- endmacro %}


{# The measures of these message versions, by grain. Without `has_changes`, each of them is added. #}
{% macro grouped_measures(messages, grain, measures, expressions, has_changes) -%}
    select
        {%- for column in grain %}
        {% if column in expressions %}{{ expressions[column] }} as {% endif %}{{ column }},
        {%- endfor %}
        {%- for name, measure in measures.items() %}
        {{ added_up(measure) if has_changes else counted(measure) }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ messages }}
    -- Of an expression, the planner expects as many values as rows, and would sort all of them by texts. Transaction ids can be
    -- hashed, but not sorted: with a constant one among the keys, groups are found by hashing.
    group by {{ range(1, grain | length + 1) | join(', ') }}, '0'::xid
{%- endmacro %}


{# A measure of a group of message versions, each of which is added (change = 1) or subtracted (change = -1). #}
{% macro added_up(measure) -%}
    {%- if measure.get('count_if') == 'true' -%}
    sum(change)::int
    {%- elif 'count_if' in measure -%}
    coalesce(sum(change) filter (where {{ measure.count_if }}), 0)::int
    {%- elif 'max' in measure -%}
    max({{ measure.max }}) filter (where change = 1)
    {%- else -%}
    coalesce(sum(change * ({{ measure.sum }})), 0)::{{ measure.data_type }}
    {%- endif -%}
{%- endmacro %}


{# A measure of a group of message versions, each of which is added. #}
{% macro counted(measure) -%}
    {%- if measure.get('count_if') == 'true' -%}
    count(*)::int
    {%- elif 'count_if' in measure -%}
    (count(*) filter (where {{ measure.count_if }}))::int
    {%- elif 'max' in measure -%}
    max({{ measure.max }})
    {%- else -%}
    coalesce(sum({{ measure.sum }}), 0)::{{ measure.data_type }}
    {%- endif -%}
{%- endmacro %}


{#
    The versions of a fact that change a rollup. `change` is 1 for a current version, and -1 for one that the model's last run
    counted and that expired since. A version that was inserted and expired since is left out. Without `is_incremental_run`: the
    current versions. `fan_out`: see incremental_rollup().
#}
{% macro changed_versions(relation, where, is_incremental_run, fan_out=none) -%}
    {%- set watermark = watermark() if is_incremental_run else 0 -%}
    select
        *,
        1 as change
    from {{ relation }}
    {%- if fan_out %}
    cross join lateral {{ fan_out }}
    {%- endif %}
    where {{ where }} and {{ is_current() }}
    {%- if is_incremental_run %} and valid_from > {{ watermark }}
    union all
    select
        *,
        -1 as change
    from {{ relation }}
    {%- if fan_out %}
    cross join lateral {{ fan_out }}
    {%- endif %}
    where {{ where }} and valid_to > {{ watermark }} and valid_to < {{ open_ended() }} and valid_from <= {{ watermark }}
    {%- endif %}
{%- endmacro %}
