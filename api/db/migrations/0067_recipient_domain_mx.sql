-- depends: 0066_links_of_erased_recipients

-- Which host takes the mail of a recipient domain: filled by `mailmart mx`, or by the operator's own job. Builds find the mailbox
-- provider of a domain by it, if no row of the seed mailbox_providers has the domain.
set local role mailmart_owner;

create table raw.recipient_domain_mx (
    domain text primary key,
    -- the host of the most preferred MX record; null if there is none
    mx_host text,
    -- found, no_mx, no_domain, or failed: no answer in time
    status text not null,
    resolved_at timestamptz not null default now()
);

reset role;
