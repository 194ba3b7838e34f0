with source as (
    select * from {{ source('raw', 'email_events') }}
)

{{ native_events('source') }}
