{#
    The incremental strategy `versioned`. The model's rows are the incoming state of their keys:

    - A current row that differs from the incoming one expires with this batch, and the incoming one is inserted. Equal rows are
      not touched.
    - An incoming row with valid_to = valid_from (a tombstone) only expires the current one.
    - A model that selects every key (meta.full_snapshot, or any model with `recompute: true`) also expires the current rows whose
      keys are not among the incoming ones.
    - A model that selects only new keys (meta.insert_only, unless it is recomputed) only inserts, without looking for
      existing keys. The unique index of the current rows rejects a key that is not new.

    Written with a materialized CTE of the temporary table and LEFT JOIN … IS NULL, the form that Citus runs, too.
#}
{% macro get_incremental_versioned_sql(arg_dict) -%}
    {%- set target_relation = arg_dict['target_relation'] -%}
    {%- set incoming_relation = arg_dict['temp_relation'] -%}
    {%- set key = arg_dict['unique_key'] -%}
    {%- set columns = arg_dict['dest_columns'] | map(attribute='name') | list -%}
    {%- set insert_only = config.get('meta', {}).get('insert_only') and not var('recompute') -%}
    {#- An empty table is not joined: the planner would scan it, with its no pages, once for each incoming row, and it grows by each -#}
    {%- set has_existing = not insert_only and not is_empty() -%}
    {%- set values = columns | reject('in', key + ['valid_from', 'valid_to']) | list -%}
    {%- set same_key %}
        {%- for column in key %}
            existing.{{ column }} = incoming.{{ column }} and
        {%- endfor %}
            {{ is_current('existing') }}
    {%- endset -%}
    {#- the existing rows that a recomputation may replace or expire; the others stay -#}
    {%- set recompute_scope = config.get('meta', {}).get('recompute_scope') -%}
    {%- if is_distributed() and var('recompute') -%} {%- set recompute_scope = recompute_scope_on_nodes(incoming_relation) | trim -%} {%- endif -%}
    {%- set and_in_scope = ' and ' ~ recompute_scope if recompute_scope else '' -%}

    {% if not insert_only -%}
    -- The statements below are planned by what the model has returned. They join by the key alone, and statistics of thirty columns
    -- take longer than the join.
    analyze {{ incoming_relation }} ({{ key | join(', ') }}, valid_from, valid_to);

    {% call(update_from) expire_rows(target_relation, key) %}
    with incoming as materialized (
        select * from {{ incoming_relation }}
    )

    {{ update_from }} incoming
    where
        {{ same_key }}
        and (
            incoming.valid_to = incoming.valid_from
            {%- if values %}
            or ({% for column in values %}existing.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
            is distinct from ({% for column in values %}incoming.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
            {%- endif %}
        )
        {{- and_in_scope if var('recompute') }}
    {%- endcall %};
    {% endif %}

    {% if var('recompute') or config.get('meta', {}).get('full_snapshot') %}
    {% call(update_from) expire_rows(target_relation, key) %}
    with incoming as materialized (
        select * from {{ incoming_relation }}
    ),

    deleted_keys as (
        select {% for column in key %}existing.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
        from {{ target_relation }} as existing
        left join incoming on {% for column in key %}existing.{{ column }} = incoming.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
        where
            {{ is_current('existing') }}
            and incoming.{{ key[0] }} is null
            {{- and_in_scope }}
    )

    {{ update_from }} deleted_keys as incoming
    where {{ same_key }}
    {%- endcall %};
    {% endif %}

    with incoming as materialized (
        select * from {{ incoming_relation }}
    )
    {%- if has_existing and is_distributed() %},

    -- the known keys come from the nodes; the table's rows do not
    existing as materialized (
        select
            {%- for column in key %}
            incoming.{{ column }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ target_relation }} as existing
        inner join incoming on {{ same_key }}
    )
    {%- endif %}

    insert into {{ target_relation }} ({% for column in columns %}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
    select {% for column in columns %}incoming.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %}
    from incoming
    {%- if has_existing and is_distributed() %}
    left join existing using ({{ key | join(', ') }})
    {%- elif has_existing %}
    left join {{ target_relation }} as existing
        on {{ same_key }}
    {%- endif %}
    where
        {{ is_current('incoming') }}
        {%- if has_existing %}
        and existing.{{ key[0] }} is null
        {%- endif %}
{%- endmacro %}


{#
    A statement that expires rows of `target`, which its caller calls existing. The caller writes the CTEs and the condition, and between
    them {{ update_from }} and the name of the incoming rows.

    A table without workspaces is on every node of a Citus cluster. Citus cannot update it from a temporary table, so there the keys are
    selected first. Such tables have a few rows.
#}
{% macro expire_rows(target, key) -%}
    {%- if is_distributed() and 'workspace_id' not in key %}
    {%- set key_text = 'existing.' ~ key | join(' || chr(31) || existing.') %}
    do $expire$
    declare
        expired_keys text[];
    begin
        {{ caller('select array_agg(' ~ key_text ~ ') into expired_keys from ' ~ target ~ ' as existing cross join') }};
        update {{ target }} as existing
        set valid_to = {{ batch_id() }}
        where {{ is_current('existing') }} and ({{ key_text }}) = any(expired_keys);
    end
    $expire$
    {%- else -%}
    {{ caller('update ' ~ target ~ ' as existing\n    set valid_to = ' ~ batch_id() ~ '\n    from') }}
    {%- endif -%}
{%- endmacro %}
