insert into raw.rejected_payloads (provider, workspace_id, problem, reason, source, line, body, body_md5)
values (
    %(provider)s, %(workspace_id)s, %(problem)s, %(reason)s, %(source)s, %(line)s, %(body)s,
    md5(row(%(reason)s::text, %(body)s::text)::text)
)
on conflict do nothing
