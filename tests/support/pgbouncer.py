"""A real PgBouncer between a test and its database."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.embedded.process_user import process_user
from api.settings import Settings
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
# the first release that follows the prepared statements of its clients
FOLLOWS_STATEMENTS = (1, 21)


def follows_statements() -> bool:
    """Whether the installed PgBouncer can follow the prepared statements of its clients in transaction mode."""
    assert PGBOUNCER is not None
    output = subprocess.run([PGBOUNCER, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", output)
    assert version is not None, output
    return tuple(map(int, version.groups())) >= FOLLOWS_STATEMENTS


@contextmanager
def pooled(
    settings: Settings,
    *,
    mode: str,
    ignored: str = "options,extra_float_digits",
    pool_size: int = 2,
    max_prepared_statements: int = 0,
) -> Iterator[Settings]:
    """The settings of the same database through PgBouncer in pool mode `session` or `transaction`, while the block runs.

    `ignored` are the start-up parameters that it drops without a word. It follows `max_prepared_statements` of each client.
    """
    assert PGBOUNCER is not None
    assert settings.database_url is not None
    database = conninfo_to_dict(settings.database_url)
    folder = Path(tempfile.mkdtemp(prefix="mailmart-pgbouncer-"))
    # it refuses to run as root, and then has to get at its files and at the server's socket
    folder.chmod(0o777)
    user = process_user()
    port = free_port()
    users = folder / "users"
    users.write_text(f'"{database["user"]}" "{database["password"]}"\n')
    users.chmod(0o644)
    config = folder / "pgbouncer.ini"
    config.write_text(
        "[databases]\n"
        f"{database['dbname']} = host={database['host']} port={database.get('port') or 5432}\n"
        "[pgbouncer]\n"
        "listen_addr = 127.0.0.1\n"
        f"listen_port = {port}\n"
        "unix_socket_dir =\n"
        "auth_type = scram-sha-256\n"
        f"auth_file = {users}\n"
        f"pool_mode = {mode}\n"
        f"default_pool_size = {pool_size}\n"
        f"ignore_startup_parameters = {ignored}\n"
        f"logfile = {folder}/log\n" + (f"max_prepared_statements = {max_prepared_statements}\n" if follows_statements() else "")
    )
    config.chmod(0o644)
    process = subprocess.Popen(
        [PGBOUNCER, str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=user.uid,
        group=user.gid,
        extra_groups=[] if user.uid is not None else None,
    )
    url = f"postgresql://{quote(str(database['user']))}:{quote(str(database['password']))}@/{database['dbname']}?" + urlencode(
        {"host": "127.0.0.1", "port": port}
    )

    def is_up() -> bool:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_until(is_up, "PgBouncer accepts connections")
        yield replace(settings, database_url=url)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
