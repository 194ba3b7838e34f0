"""mailmart demo"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType

import click

from api.cli.progress import counting, step
from api.database import connect
from api.dbt import run_dbt
from api.embedded import servers
from api.errors import MailmartError, ServerError
from api.generate.generate import GenerateOptions, generate
from api.keys import create_key, list_keys
from api.migrate import migrate
from api.project import project_hash
from api.serving import check_address, serve
from api.settings import Settings

WORKSPACE = "ws_demo_1"
CAMPAIGN = "cmp_demo_1"
PORTS_TO_TRY = 20


@click.command()
def command() -> None:
    """Start the servers, load mail to look at, build, make a key, and serve, until Ctrl-C.

    The second time it goes on with what is there.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    settings = Settings.from_environment()
    settings.home.mkdir(parents=True, exist_ok=True)
    with _only_one(settings.home):
        try:
            _run(_with_free_port(settings))
        except KeyboardInterrupt:
            click.echo("\nstopping", err=True)
        finally:
            _stop(settings)


def _run(settings: Settings) -> None:
    with step("starting PostgreSQL and Valkey") as done:
        _own(settings)
        started = servers.start(settings)
        done("started" if started.postgres or started.valkey else "running already")
    with step("migrating") as done:
        applied = migrate(settings)
        done(f"{len(applied)} migrations" if applied else "nothing to do")
    _load(settings)
    _build(settings)
    key = _key(settings)
    threading.Thread(target=_greet, args=(settings, key), daemon=True).start()
    serve(settings)


def _load(settings: Settings) -> None:
    """200,000 messages over 120 days, the first time; later the days that have passed since."""
    state = settings.home / "demo.json"
    today = datetime.now(UTC).date()
    loaded_until = date.fromisoformat(json.loads(state.read_text())["until"]) if state.exists() else None
    if loaded_until is not None and loaded_until >= today:
        return
    options = GenerateOptions()
    if loaded_until is not None:
        days = min((today - loaded_until).days, options.days)
        messages = options.messages * days // options.days
        options = dataclasses.replace(options, days=days, messages=messages, seed=today.toordinal())
    click.echo(f"  making {options.messages:,} messages of {options.days} days …", err=True)
    began = time.monotonic()
    with counting("making messages") as progress:
        events = generate(settings, options, progress)
    click.echo(f"✓ {options.messages:,} messages, {events:,} events ({time.monotonic() - began:.1f} s)", err=True)
    state.write_text(json.dumps({"until": today.isoformat()}))


def _build(settings: Settings) -> None:
    """dbt build, where anything has landed or the project has changed since the last one that was published."""
    with step("building the models (dbt build)") as done:
        built_from = settings.home / "demo_project"
        current = project_hash(settings.project_root)
        if built_from.exists() and built_from.read_text() == current and not _has_landed_since_publication(settings):
            done("nothing is new")
            return
        built = run_dbt(settings, ["--no-use-colors", "build", "--exclude-resource-type", "unit_test"], quiet=True)
        if built.returncode != 0:
            raise MailmartError("dbt build failed", hint=built.stdout[-4000:])
        built_from.write_text(current)
        done("published")


def _has_landed_since_publication(settings: Settings) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            """
            with landed as (
                select max(loaded_at) as loaded_at from raw.email_events
                union all
                select max(loaded_at) from raw.webhook_payloads
            )

            select coalesce(max(landed.loaded_at) > max(publications.data_as_of), true)
            from landed
            left join app.publication as publication on publication.target = %(target)s
            left join app.publications as publications
                on publication.target = publications.target and publication.batch_id = publications.batch_id
            """,
            {"target": settings.target},
        ).fetchone()
    return row is None or bool(row[0])


def _key(settings: Settings) -> str:
    """The demo's key: the one of last time, if it is still there."""
    path = settings.home / "demo_key"
    active = {key.key_id for key in list_keys(settings, WORKSPACE) if key.state == "active"}
    if path.exists() and path.read_text().split("_")[1] in active:
        return path.read_text()
    key = create_key(settings, WORKSPACE, name="demo")
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    return key


def _greet(settings: Settings, key: str) -> None:
    address = f"http://{settings.host}:{settings.port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/readyz", timeout=5).close()  # noqa: S310 - our own address
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    url = f"{address}/api/v1/workspaces/{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
    today = datetime.now(UTC).date()
    custom = f"timeRange=custom&startDate={today - timedelta(days=6)}&endDate={today}"
    pretty = " | python3 -m json.tool" if shutil.which("python3") else ""
    click.echo(
        f"""
mailmart is ready. Documentation to try things out in: {address}/docs   (Ctrl-C stops everything)

API key of {WORKSPACE}: {key}

curl -s -H 'Authorization: Bearer {key}' '{url}'{pretty}
curl -s -H 'Authorization: Bearer {key}' '{url}?timeRange=90d&groupBy=week'{pretty}
curl -s -H 'Authorization: Bearer {key}' '{url}?{custom}'{pretty}
"""
    )


def _with_free_port(settings: Settings) -> Settings:
    """The port that was asked for; without any, the first free one from the default on."""
    if os.environ.get("MAILMART_PORT"):
        check_address(settings)
        return settings
    for port in range(settings.port, settings.port + PORTS_TO_TRY):
        candidate = dataclasses.replace(settings, port=port)
        try:
            check_address(candidate)
        except ServerError:
            continue
        if port != settings.port:
            click.echo(f"  port {settings.port} is taken; serving at {port}", err=True)
        return candidate
    raise ServerError(
        f"the ports {settings.port} to {settings.port + PORTS_TO_TRY - 1} are all taken",
        hint="Set MAILMART_PORT to a free one.",
    )


def _own(settings: Settings) -> None:
    """Notes that the servers are the demo's to stop, unless they run already without it (`mailmart up`)."""
    marker = settings.home / "demo_owns_servers"
    if not marker.exists() and not servers.are_running(settings):
        marker.touch()


def _stop(settings: Settings) -> None:
    marker = settings.home / "demo_owns_servers"
    if not marker.exists():
        return
    # a second Ctrl-C would leave servers behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with step("stopping Valkey and PostgreSQL") as done:
        servers.stop(settings)
        done("stopped; the data stay")
    marker.unlink()


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with (home / "demo_lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MailmartError(
                "a demo runs here already",
                hint="Stop it with Ctrl-C, or set MAILMART_HOME to another folder for a second one.",
            ) from None
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
