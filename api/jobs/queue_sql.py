"""All SQL of this package that names procrastinate's tables and functions. Jobs are added by `app.enqueue` instead.

Statements without a schema run on the worker's own connections, whose search_path is procrastinate's schema.
"""

from __future__ import annotations

# procrastinate's own functions check only the job's id: a worker that was frozen and considered dead could finish or retry a job
# that another worker has claimed since. Each retry increments `attempts`, so worker and attempts identify one claim of the job.
_FENCED = """
    with own_job as materialized (
        select id from procrastinate_jobs
        where id = %(job_id)s and status = 'doing' and worker_id = %(worker_id)s and attempts = %(attempts)s
        for update
    ),

    updated as materialized (
        select {call} from own_job
    )

    select count(*) as updated_jobs from updated
"""
FINISH_JOB = _FENCED.format(call="procrastinate_finish_job_v1(id, %(status)s, %(delete_job)s)")
RETRY_JOB = _FENCED.format(
    call="procrastinate_retry_job_v2(id, %(retry_at)s, %(new_priority)s, %(new_queue_name)s, %(new_lock)s)"
)

IS_HEARTBEAT_STALE = """
    select coalesce(max(last_heartbeat), '-infinity') < now() - make_interval(secs => %s)
    from procrastinate_workers
    where id = %s
"""

JOBS_OF_WORKER = """
    select id from procrastinate_jobs
    where status = 'doing' and worker_id = %s and id <> all(%s::bigint[])
"""

# skip locked: two workers do not retry the same job
RETRY_ORPHANED_JOBS = """
    with orphaned_jobs as materialized (
        select jobs.id
        from procrastinate_jobs as jobs
        left join procrastinate_workers as workers on jobs.worker_id = workers.id
        where
            jobs.status = 'doing'
            and (
                workers.id is null
                or workers.last_heartbeat < now() - make_interval(secs => %s)
                or jobs.id = any(%s::bigint[])
            )
        for update of jobs skip locked
    )

    select id from orphaned_jobs
    cross join lateral procrastinate_retry_job_v2(id, now(), null, null, null)
"""
