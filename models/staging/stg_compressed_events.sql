with source as (
    select * from {{ source('raw', 'compressed_email_events') }}
)

{{ native_events('source') }}
