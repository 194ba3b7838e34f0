"""Processor time of PostgreSQL, by server. On a machine that does other work too, a clock measures the other work as well."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from api.db.connection import connect
from api.embedded.paths import find_folders
from api.embedded.processes import read_pid
from api.errors import MailmartError
from api.settings import Settings

# fields of /proc/PID/stat (proc(5)) after the name of the program
PARENT, UTIME, STIME, CUTIME, CSTIME = 1, 11, 12, 13, 14
MAX_READS = 10
MAX_SESSIONS = 50
SERVER, COORDINATOR = "server", "coordinator"
HAS_NODES = "select exists (select from pg_catalog.pg_extension where extname = 'citus')"
SESSION = "select current_database(), pg_backend_pid()"
# a session of each node
SESSIONS_OF_NODES = """
    select
        case when pg_dist_node.groupid = 0 then %(coordinator)s else nodename || ':' || nodeport end,
        sessions.result
    from run_command_on_all_nodes('select pg_backend_pid()') as sessions
    inner join pg_dist_node using (nodeid)
    where sessions.success and pg_dist_node.noderole = 'primary'
    order by pg_dist_node.groupid
"""
NODES = "select count(*) from pg_dist_node where noderole = 'primary'"


class ProcessorClock:
    """The processor time of the servers of a scratch database since they were started. Unknown if one is on another machine."""

    def __init__(self, scratch: Settings) -> None:
        """
        Raises:
            MailmartError: the embedded server does not run, or this system has no /proc.
        """
        self._postmasters = {SERVER: _embedded_postmaster(scratch)} if scratch.database_url is None else _postmasters(scratch)

    def seconds(self) -> dict[str, float]:
        """Of all processes of each server, those that have ended among them. Empty if it is unknown."""
        return {name: _seconds(postmaster) for name, postmaster in self._postmasters.items()}

    def seconds_since(self, before: dict[str, float]) -> dict[str, float]:
        """The same since `before`, an earlier result."""
        return {name: seconds - before[name] for name, seconds in self.seconds().items()}


def processor_seconds(scratch: Settings) -> float:
    """Processor time of an embedded server since it was started.

    Raises:
        MailmartError: it does not run, or this system has no /proc.
    """
    return sum(ProcessorClock(scratch).seconds().values())


def _embedded_postmaster(scratch: Settings) -> int:
    postmaster = read_pid(find_folders(scratch.home, scratch.server_user).servers / "postgres" / "postmaster.pid")
    if postmaster is None or _stat(Path(f"/proc/{postmaster}")) is None:
        raise MailmartError("the processor time of PostgreSQL cannot be read from /proc")
    return postmaster


def _postmasters(scratch: Settings) -> dict[str, int]:
    """The first process of each server, by name; none if one of them is not on this machine."""
    with connect(scratch, None) as connection:
        row = connection.execute(SESSION).fetchone()
        assert row is not None  # noqa: S101 - the query always returns a row
        database, pid = str(row[0]), int(row[1])
        nodes = _node_count(connection)
        if not nodes:
            return _found({SERVER: pid}, database)
        found: dict[str, int] = {}
        # Citus can end a session of a node as soon as it has responded
        for _ in range(MAX_SESSIONS):
            sessions = connection.execute(SESSIONS_OF_NODES.encode(), {"coordinator": COORDINATOR}).fetchall()
            found |= _found({str(name): int(session) for name, session in sessions}, database)
            if len(found) == nodes:
                return {str(name): found[str(name)] for name, _ in sessions}
    return {}


def _node_count(connection: psycopg.Connection) -> int:
    """The number of servers of the cluster, the coordinator among them; 0 if there is none."""
    if connection.execute(HAS_NODES).fetchone() != (True,):
        return 0
    row = connection.execute(NODES).fetchone()
    return int(row[0]) if row else 0


def _found(sessions: dict[str, int], database: str) -> dict[str, int]:
    """The first processes of the servers of these sessions, of those that this machine has."""
    parents = {name: _parent_of_session(pid, database) for name, pid in sessions.items()}
    return {name: parent for name, parent in parents.items() if parent is not None}


def _parent_of_session(pid: int, database: str) -> int | None:
    """The first process of a session's server; None if this machine has no such session."""
    folder = Path(f"/proc/{pid}")
    try:
        title = (folder / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return None
    # the number alone could be that of any process: the server is on another machine, or in a container
    fields = _stat(folder)
    return int(fields[PARENT]) if fields is not None and title.startswith("postgres") and database in title else None


def _seconds(postmaster: int) -> float:
    for _ in range(MAX_READS):
        fields = _stat(Path(f"/proc/{postmaster}"))
        if fields is None:
            raise MailmartError("the processor time of PostgreSQL cannot be read from /proc", hint="Was the server restarted?")
        ticks = sum(int(fields[field]) for field in (UTIME, STIME, CUTIME, CSTIME))
        for folder in Path("/proc").glob("[0-9]*"):
            child = _stat(folder)
            if child is not None and int(child[PARENT]) == postmaster:
                ticks += int(child[UTIME]) + int(child[STIME])
        # a process that ended meanwhile was in neither of the two
        if _ended(_stat(Path(f"/proc/{postmaster}"))) == _ended(fields):
            break
    return ticks / os.sysconf("SC_CLK_TCK")


def _ended(fields: list[str] | None) -> list[str] | None:
    """The processor time of processes that have ended."""
    return fields and fields[CUTIME : CSTIME + 1]


def _stat(folder: Path) -> list[str] | None:
    """The fields after the program's name, which may contain blanks and brackets; None if there is no such process."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
