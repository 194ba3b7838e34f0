"""PostgreSQL's own pgbench, which comes with the embedded server, running a transaction of the service: what there is to win."""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from api.db.connection import conninfo
from api.embedded.paths import find_folders
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.load import Measured, summary

# a literal or a name, which may have semicolons inside; or one that ends a statement
TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|;""")
SECONDS_TO_START = 60


def measure_sql(scratch: Settings, transaction: str, connections: int, seconds: float, warm_up: float) -> Measured:
    """Runs the transaction for so many seconds after the warm-up, as the API's role; one message each, as the service sends it.

    Raises:
        MailmartError: pgbench failed; with what it said.
    """
    with tempfile.TemporaryDirectory(dir=scratch.home, prefix="pgbench-") as name:
        folder = Path(name)
        (folder / "script.sql").write_text(as_one_message(transaction))
        whole = math.ceil(warm_up + seconds)
        completed = subprocess.run(
            [
                str(find_folders(scratch.home).binaries / "pgbench"),
                "--no-vacuum",
                "--protocol=simple",
                "--file=script.sql",
                f"--client={connections}",
                "--jobs=1",
                f"--time={whole}",
                "--log",
                "--log-prefix=log",
            ],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **_connection(scratch)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=whole + SECONDS_TO_START,
            check=False,
        )
        if completed.returncode != 0:
            raise MailmartError("pgbench failed", hint=completed.stderr.strip()[-2000:])
        log = "".join(path.read_text() for path in folder.glob("log.*"))
    return _summary(log, seconds, warm_up)


def as_one_message(transaction: str) -> str:
    r"""A script of pgbench's, which sends statements that end in `\;` along with the next."""
    return TOKEN.sub(lambda found: r"\;" if found.group() == ";" else found.group(), transaction).rstrip() + ";\n"


def _connection(scratch: Settings) -> dict[str, str]:
    # not on the command line, which anybody can read
    variables = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    variables |= {"dbname": "PGDATABASE", "options": "PGOPTIONS", "application_name": "PGAPPNAME"}
    given = conninfo_to_dict(conninfo(scratch, "mailmart_api"))
    return {variable: str(given[name]) for name, variable in variables.items() if given.get(name) is not None}


def _summary(log: str, seconds: float, warm_up: float) -> Measured:
    """Out of pgbench's log: client, number, microseconds taken, script, second and microsecond of the end."""
    ended = []
    for line in log.splitlines():
        _, _, taken, _, second, microsecond = line.split()[:6]
        ended.append((int(second) * 1_000_000 + int(microsecond), int(taken)))
    if not ended:
        raise MailmartError("pgbench ran no transaction")
    counted_from = min(end - taken for end, taken in ended) + warm_up * 1e6
    until = counted_from + seconds * 1e6
    counted = [taken * 1000 for end, taken in ended if counted_from <= end < until]
    # a transaction that takes longer than all of it
    if not counted:
        until, counted = max(ended)[0], [max(ended)[1] * 1000]
        counted_from = until - counted[0] / 1000
    return summary(counted, (until - counted_from) / 1e6)
