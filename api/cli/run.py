"""mailmart run"""

from __future__ import annotations

import shlex

import click

from api.cli.stack import run_programs, running_servers
from api.observability.logs import configure_logs
from api.processes.stack import service_programs
from api.server.listening import check_address
from api.settings import Settings, default_home


@click.command()
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the API server.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs that the worker runs at a time."
)
def command(workers: int, concurrency: int) -> None:
    """Run everything in the foreground, until Ctrl-C or SIGTERM: API server, intake, worker, scheduler and servers.

    Servers with a URL in the settings are used instead of embedded ones. The database is migrated first. A process that ends is
    restarted. At the end all processes are stopped in order; embedded servers that ran before keep running.

    While it runs, other commands on this machine find its addresses and settings in MAILMART_HOME.
    """
    settings = Settings.from_environment()
    configure_logs()
    check_address(settings)
    check_address(settings.for_intake_address(), "MAILMART_INTAKE_PORT")
    with running_servers(settings) as stop_signal:
        if not settings.is_production:
            click.echo(
                f"MAILMART_TARGET is {settings.target!r}: no worker runs, because exports and reports need production", err=True
            )

        def report_ready() -> None:
            click.echo(
                f"✓ mailmart is running: {settings.local_url}/docs, webhooks at"
                f" {settings.for_intake_address().local_url}/intake   (Ctrl-C stops everything)",
                err=True,
            )
            if settings.home != default_home():
                click.echo(
                    f"  for commands in another terminal: export MAILMART_HOME={shlex.quote(str(settings.home))}", err=True
                )

        programs = service_programs(workers=workers, concurrency=concurrency, with_worker=settings.is_production)
        run_programs(settings, programs, stop_signal, report_ready, ready_path="/healthz")
