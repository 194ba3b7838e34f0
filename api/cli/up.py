"""mailmart up"""

from __future__ import annotations

import click

from api.cli.progress import step
from api.db.migrate import migrate
from api.embedded import servers
from api.embedded.database_url import embedded_database_url
from api.settings import Settings


@click.command()
@click.option("--all", "is_all", is_flag=True, help="Run server, worker and scheduler too, until Ctrl-C or SIGTERM.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="With --all: the server's processes.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="With --all: the worker's jobs.")
def command(is_all: bool, workers: int, concurrency: int) -> None:
    """Start the embedded PostgreSQL and Valkey, where no others are configured, and migrate.

    They go on running until `mailmart down`. Run again, it finds them running.

    With --all, server, worker and scheduler run as well, in the foreground. What dies is started again, the embedded servers
    too; told to end, all of it ends in order, the embedded servers last, unless they ran before.
    """
    settings = Settings.from_environment()
    if is_all:
        _run_all(settings, workers, concurrency)
        return
    with step("starting PostgreSQL and Valkey") as done:
        started = servers.start(settings)
        done("started" if started.postgres or started.valkey else "running already")
    with step("migrating") as done:
        applied = migrate(settings)
        done(f"{len(applied)} migrations applied" if applied else "nothing to do")
    if settings.database_url is None:
        click.echo(f"PostgreSQL: {embedded_database_url(settings.home)}")


def _run_all(settings: Settings, workers: int, concurrency: int) -> None:
    # a server, and logs: nothing that the other way would wait for
    from api.cli.stack import programs, run, started_servers
    from api.observability.logs import configure_logs
    from api.processes.probe import address
    from api.server.granian import check_address

    configure_logs()
    check_address(settings)
    with started_servers(settings) as endings:

        def greet() -> None:
            click.echo(f"✓ mailmart runs: {address(settings)}, documentation at /docs   (Ctrl-C stops everything)", err=True)

        if not settings.is_production:
            click.echo(f"MAILMART_TARGET is {settings.target!r}: no worker runs, exports and reports are production's", err=True)
        running = programs(workers=workers, concurrency=concurrency, with_worker=settings.is_production)
        run(settings, running, endings, greet, ready="/healthz")
