{#
    The variance between groups over the variance of one message, by the method of moments; 0 if the groups differ no more than
    chance explains. It is 1 / the strength of the groups' prior, in messages. An aggregate over the groups of a workspace, with
    the columns sent, engaged (the sum of their messages' scores, 0 to 1 each), expected (the same without the groups' effect) and
    is_measured: a group with so little mail that one lucky message is a large effect says nothing, and has no effect.

    variance            Of one message's score; the same for all groups. Null or 0: nothing can differ.
    degrees_of_freedom  By default, the number of measured groups less one.
#}
{% macro variance_between(variance, degrees_of_freedom='count(*) filter (where is_measured) - 1') -%}
    {%- set measured = 'filter (where is_measured)' -%}
    case
        when {{ degrees_of_freedom }} > 0
            then
                coalesce(
                    greatest(
                        sum((engaged - expected) ^ 2 / sent) {{ measured }} / nullif(max({{ variance }}), 0) - ({{ degrees_of_freedom }}), 0
                    )
                    / nullif(sum(sent) {{ measured }} - sum(sent ^ 2) {{ measured }} / sum(sent) {{ measured }}, 0),
                    0
                )
        else 0
    end
{%- endmacro %}


{#
    Whether a group has enough mail for an effect of its own: five engaged messages are expected, if a message is engaged or not.
    With less, the score of a group is far from normally distributed.
#}
{% macro is_measured(sent, score, variance) -%}
    {{ sent }} * {{ score }} ^ 2 >= 5 * {{ variance }}
{%- endmacro %}


{# A group's effect on the score of its messages, shrunk to 0 by the prior. `between`: variance_between(). #}
{% macro shrunk_effect(between) -%}
    case when is_measured then (engaged - expected) * {{ between }} / (1 + sent * {{ between }}) else 0 end
{%- endmacro %}


{# The posterior variance of a group's effect. #}
{% macro variance_of_effect(between, variance) -%}
    {{ variance }} * {{ between }} / (1 + sent * {{ between }})
{%- endmacro %}


{#
    How much more the replicates of a group vary than independent messages would: at least 1, and 1 if there are no replicates.
    Mail of one day shares a campaign, a list and the news of the day, so days of the same weekday differ although the weekday has
    no effect.

    of_replicates, of_groups  Sums of engaged² / sent over the replicates, and over their groups.
    degrees_of_freedom        Replicates less groups.
#}
{% macro overdispersion(of_replicates, of_groups, degrees_of_freedom, variance) -%}
    greatest(coalesce(({{ of_replicates }} - {{ of_groups }}) / nullif({{ degrees_of_freedom }}, 0) / nullif({{ variance }}, 0), 1), 1)
{%- endmacro %}
