"""Runs a transaction of the service with PostgreSQL's own pgbench: prepared, the upper bound for the API."""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from api.db.connection import conninfo
from api.db.prepared_statements import Statement
from api.embedded.paths import find_folders
from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.measured import Measured, summary

# a literal or quoted name, which may contain semicolons, or the semicolon that ends a statement
TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|;""")
PARAMETER = re.compile(r"\$(\d+)")
START_TIMEOUT_SECONDS = 60


def measure_transaction(scratch: Settings, transaction: str, connections: int, seconds: float, warm_up: float) -> Measured:
    """Runs the transaction for a number of seconds after the warm-up, under the API's role, as one message.

    Raises:
        MailmartError: pgbench failed; with its output.
    """
    return _measure(scratch, ["--protocol=simple"], as_one_message(transaction), connections, seconds, warm_up)


def measure_prepared(
    scratch: Settings, statements: Sequence[Statement], connections: int, seconds: float, warm_up: float
) -> Measured:
    """The same with statements that each connection prepares once, as a pipeline like that of the service.

    Raises:
        MailmartError: pgbench failed; with its output.
    """
    script, variables = as_pipeline(statements)
    defined = [f"--define={name}={value}" for name, value in variables.items()]
    return _measure(scratch, ["--protocol=prepared", *defined], script, connections, seconds, warm_up)


def _measure(
    scratch: Settings, options: Sequence[str], script: str, connections: int, seconds: float, warm_up: float
) -> Measured:
    with tempfile.TemporaryDirectory(dir=scratch.home, prefix="pgbench-") as name:
        folder = Path(name)
        (folder / "script.sql").write_text(script)
        total_seconds = math.ceil(warm_up + seconds)
        completed = subprocess.run(
            [
                str(find_folders(scratch.home, scratch.server_user).binaries / "pgbench"),
                "--no-vacuum",
                *options,
                "--file=script.sql",
                f"--client={connections}",
                "--jobs=1",
                f"--time={total_seconds}",
                "--log",
                "--log-prefix=log",
            ],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **_connection(scratch)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=total_seconds + START_TIMEOUT_SECONDS,
            check=False,
        )
        if completed.returncode != 0:
            raise MailmartError("pgbench failed", hint=completed.stderr.strip()[-2000:])
        log = "".join(path.read_text() for path in folder.glob("log.*"))
    return summary_of_log(log, seconds, warm_up)


def as_one_message(transaction: str) -> str:
    r"""A script for pgbench, which sends a statement that ends in `\;` together with the next one."""
    return TOKEN.sub(lambda token: r"\;" if token.group() == ";" else token.group(), transaction).rstrip() + ";\n"


def as_pipeline(statements: Sequence[Statement]) -> tuple[str, dict[str, str]]:
    """A script for pgbench, and the variables (name → value) that pgbench makes parameters of in prepared statements."""
    lines = ["\\startpipeline"]
    variables: dict[str, str] = {}
    for place, statement in enumerate(statements):
        text = statement.text
        # from the last one: $1 begins $10
        for number in range(len(statement.values), 0, -1):
            value = statement.values[number - 1]
            # pgbench refuses an empty variable
            text = text.replace(f"${number}", f":p{place}_{number}" if value else "''")
            if value:
                variables[f"p{place}_{number}"] = value
        lines.append(text + ";")
    return "\n".join([*lines, "\\endpipeline"]) + "\n", variables


def as_transaction(statements: Sequence[Statement]) -> str:
    """The same statements as one text, with literals in place of parameters."""
    return "; ".join(["begin read only", *map(_with_literals, statements), "commit"])


def _with_literals(statement: Statement) -> str:
    def literal(parameter: re.Match[str]) -> str:
        return "'" + statement.values[int(parameter.group(1)) - 1].replace("'", "''") + "'"

    return PARAMETER.sub(literal, statement.text)


def _connection(scratch: Settings) -> dict[str, str]:
    # not on the command line, which every user of the machine can read
    variables = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    variables |= {"dbname": "PGDATABASE", "options": "PGOPTIONS", "application_name": "PGAPPNAME"}
    params = conninfo_to_dict(conninfo(scratch, "mailmart_api"))
    return {variable: str(params[name]) for name, variable in variables.items() if params.get(name) is not None}


def summary_of_log(log: str, seconds: float, warm_up: float) -> Measured:
    """Evaluates pgbench's log: client, number, duration in microseconds, script, second and microsecond of the end.

    Raises:
        MailmartError: no transaction is in it.
    """
    ended = []
    for line in log.splitlines():
        client, _, taken, _, second, microsecond = line.split()[:6]
        ended.append((int(second) * 1_000_000 + int(microsecond), int(taken), client))
    if not ended:
        raise MailmartError("pgbench ran no transaction")
    counted_from = min(end - taken for end, taken, _ in ended) + warm_up * 1e6
    until = counted_from + seconds * 1e6
    counted = [taken * 1000 for end, taken, _ in ended if counted_from <= end < until]
    if counted:
        return summary(counted, seconds)
    # none ended in the window, because all are longer: the last one of each client, which run at the same time
    last = {client: taken for _, taken, client in sorted(ended)}
    rate = sum(1_000_000 / taken for taken in last.values())
    return summary([taken * 1000 for taken in last.values()], len(last) / rate)
