{#
    The link of a click: its URL without what says who clicked and where the link was, so that the clicks of all recipients add up.

    - parameters of tracking_parameters() go, and the fragment with them, unless it is a route of a page (#/ or #!)
    - scheme and host are in lower case; a URL that ends with its host has a / behind it
    - white space around it goes, and what is longer than 400 characters is cut
    - '' if there is no URL
#}
{% macro link_of(url) -%}
    {%- set trimmed = "btrim(coalesce(" ~ url ~ ", ''), e' \\t\\r\\n')" -%}
    {%- set without_fragment = "regexp_replace(" ~ trimmed ~ ", '#([^!/].*)?$', '')" -%}
    {%- set without_parameters -%}
        regexp_replace(
            regexp_replace({{ without_fragment }}, '(?<=[?&])({{ tracking_parameters() | join("|") }})(=[^&#]*)?(&|(?=#)|$)', '', 'gi'),
            '[?&]+(?=#|$)', ''
        )
    {%- endset -%}
    (
        select
            left(
                coalesce(
                    lower(parts.part[1]) || lower(parts.part[2]) || case when parts.part[3] = '' then '/' else parts.part[3] end,
                    cleaned.link
                ),
                400
            )
        from (select {{ without_parameters }} as link offset 0) as cleaned
        cross join lateral (
            select regexp_match(cleaned.link, '^([a-zA-Z][a-zA-Z0-9+.-]*://)([^/?#]+)(.*)$') as part
            offset 0
        ) as parts
    )
{%- endmacro %}


{# Parameters of URLs that say how somebody came to a page, and nothing of the page: regular expressions of whole names. #}
{% macro tracking_parameters() -%}
    {{ return([
        'utm_[a-z0-9_]+',
        'mtm_[a-z0-9_]+',
        'pk_[a-z0-9_]+',
        'piwik_[a-z0-9_]+',
        'matomo_[a-z0-9_]+',
        'hsa_[a-z0-9_]+',
        '_hsenc', '_hsmi', '__hs[a-z]+', 'hsctatracking',
        'mc_cid', 'mc_eid', 'mc_tc',
        'mkt_tok',
        'ml_subscriber', 'ml_subscriber_hash',
        'vero_id', 'vero_conv',
        'oly_enc_id', 'oly_anon_id',
        'ck_subscriber_id',
        'sib_id',
        'elqtrackid', 'elqtrack', 'elq', 'elqaid', 'elqat', 'elqcampaignid',
        'trk_contact', 'trk_msg', 'trk_module', 'trk_sid',
        '_ke', '_kx',
        'dm_i',
        'bsft_[a-z0-9_]+',
        's_cid',
        'wickedid',
        'gclid', 'gclsrc', 'dclid', 'gbraid', 'wbraid', 'gad_source', '_ga', '_gl',
        'fbclid', 'msclkid', 'yclid', 'ysclid', 'twclid', 'ttclid', 'igshid', 'igsh', 'li_fat_id', 'rb_clickid',
    ]) }}
{%- endmacro %}
