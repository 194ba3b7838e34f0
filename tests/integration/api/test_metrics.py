"""Metrics that are read from the database: correct, without tenants, and bounded in time whatever the database does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from psycopg.types.json import Jsonb

from api.builds.metrics import build_metrics, nightly_run_metrics
from api.db.connection import connect
from api.exports.metrics import export_metrics
from api.exports.plan import ResolvedRequest
from api.jobs.metrics import job_metrics
from api.observability.db_metrics import CACHE_TTL_SECONDS, SCRAPE_TIMEOUT_SECONDS, DatabaseCollector, DbMetric, ReadMetrics
from api.reports.metrics import delivery_metrics
from api.settings import Settings

PARTS = (build_metrics, nightly_run_metrics, export_metrics, job_metrics, delivery_metrics)


def scraped(collector: DatabaseCollector) -> dict[str, float]:
    """The metrics' values by name with labels, as Prometheus scrapes them."""
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_empty_database_has_every_metric(settings: Settings) -> None:
    metrics = scraped(DatabaseCollector(settings, PARTS))
    assert metrics.pop("mailmart_database_up") == 1
    assert set(metrics.values()) == {0}
    assert {name.split("{")[0] for name in metrics} == {
        *("mailmart_exports", "mailmart_exports_oldest_processing_seconds"),
        *("mailmart_jobs", "mailmart_jobs_oldest_waiting_seconds", "mailmart_workers_alive"),
        "mailmart_deliveries",
    }


def export_id(number: int) -> str:
    return f"exp_{number:024x}"


def test_metrics_match_the_tables(settings: Settings) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("set local mailmart.workspace_id = 'ws_secret'; set local search_path = procrastinate")
        for number in range(4):
            connection.execute(
                "select app.request_export(%s, 'campaign_performance', 'csv', '{}', %s, 10, null)",
                (export_id(number), Jsonb(ResolvedRequest({}, {}, {}, None, False).to_json())),
            )
        connection.execute(f"update app.exports set created_at = now() - interval '2 minutes' where export_id = '{export_id(0)}'")
        connection.execute(f"update app.exports set status = 'failed' where export_id = '{export_id(3)}'")
        connection.execute(
            "update procrastinate.procrastinate_events set at = now() - interval '1 minute'"
            f" where job_id = (select job_id from app.exports where export_id = '{export_id(1)}')"
        )
        # one job runs; another is scheduled for later
        connection.execute(
            "update procrastinate.procrastinate_jobs set status = 'doing'"
            f" where id = (select job_id from app.exports where export_id = '{export_id(0)}')"
        )
        connection.execute(
            "update procrastinate.procrastinate_jobs set scheduled_at = now() + interval '1 hour'"
            f" where id = (select job_id from app.exports where export_id = '{export_id(2)}')"
        )
        connection.execute(
            "insert into procrastinate.procrastinate_workers (last_heartbeat) values (now()), (now() - interval '1 hour')"
        )
        connection.execute(
            "insert into app.batches (target, invocation_id, command, status, ended_at) values"
            " ('production', 'a', 'build', 'published', '2025-01-01T02:00Z'),"
            " ('production', 'b', 'build', 'published', '2025-01-02T02:00Z'),"
            " ('production', 'c', 'build', 'abandoned', '2025-01-03T02:00Z'),"
            " ('production', 'd', 'build', 'running', null),"
            " ('dev', 'e', 'build', 'built', '2025-01-03T02:00Z')"
        )
        connection.execute(
            "insert into app.reports (report_id, workspace_id, name, request, frequency, run_at, timezone, next_run_at)"
            " values ('rep_secret', 'ws_secret', 'secret', '{}', 'daily', '08:00', 'UTC', now())"
        )
        connection.execute(
            "insert into app.report_runs (run_id, report_id, workspace_id, scheduled_for)"
            " values ('run_secret', 'rep_secret', 'ws_secret', now())"
        )
        connection.execute(
            "insert into app.report_deliveries (run_id, channel, target, workspace_id, status) values"
            " ('run_secret', 'email', 'secret@example.com', 'ws_secret', 'failed'),"
            " ('run_secret', 'email', 'secret2@example.com', 'ws_secret', 'delivered'),"
            " ('run_secret', 'webhook', 'https://secret.example.com', 'ws_secret', 'pending')"
        )
    metrics = scraped(DatabaseCollector(settings, PARTS))
    assert not [name for name in metrics if "secret" in name]
    expected = {
        'mailmart_deliveries{channel="email",status="failed"}': 1,
        'mailmart_deliveries{channel="email",status="delivered"}': 1,
        'mailmart_deliveries{channel="webhook",status="pending"}': 1,
        'mailmart_deliveries{channel="webhook",status="failed"}': 0,
        'mailmart_exports{status="processing"}': 3,
        'mailmart_exports{status="failed"}': 1,
        'mailmart_exports{status="completed"}': 0,
        'mailmart_jobs{queue="exports",state="waiting"}': 3,
        'mailmart_jobs{queue="exports",state="running"}': 1,
        'mailmart_jobs{queue="deliveries",state="waiting"}': 0,
        "mailmart_workers_alive": 1,
        'mailmart_last_published_build_timestamp_seconds{target="production"}': 1735783200,
        'mailmart_last_build_failed{target="production"}': 1,
        'mailmart_last_build_failed{target="dev"}': 0,
        'mailmart_builds_running{target="production"}': 1,
        'mailmart_builds_running{target="dev"}': 0,
    }
    assert {name: metrics[name] for name in expected} == expected
    assert 120 <= metrics["mailmart_exports_oldest_processing_seconds"] < 240
    assert 60 <= metrics['mailmart_jobs_oldest_waiting_seconds{queue="exports"}'] < 120
    assert 'mailmart_last_published_build_timestamp_seconds{target="dev"}' not in metrics


def test_database_is_queried_at_most_once_a_second(settings: Settings) -> None:
    queried: list[float] = []

    def counting(connection: psycopg.Connection) -> Iterator[DbMetric]:
        queried.append(time.monotonic())
        yield DbMetric("mine", "Mine.", [({}, len(queried))])

    collector = DatabaseCollector(settings, [counting])
    began = time.monotonic()
    while time.monotonic() - began < 2.5 * CACHE_TTL_SECONDS:
        threads = [threading.Thread(target=scraped, args=(collector,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 2 <= len(queried) <= 1 + (time.monotonic() - began) / CACHE_TTL_SECONDS


def test_locked_or_missing_tables_do_not_affect_other_metrics(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def missing(connection: psycopg.Connection) -> Iterator[DbMetric]:
        connection.execute("select * from app.of_another_release")
        yield DbMetric("never", "Never.", [])

    parts: list[ReadMetrics] = [missing, export_metrics, job_metrics]
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("lock table app.exports in access exclusive mode")
        metrics = scraped(DatabaseCollector(settings, parts))
    assert metrics["mailmart_database_up"] == 1
    assert metrics["mailmart_workers_alive"] == 0
    assert not [name for name in metrics if name.startswith("mailmart_exports")]
    assert "of_another_release" in caplog.text


def test_metrics_cannot_write(settings: Settings) -> None:
    def writing(connection: psycopg.Connection) -> Iterator[DbMetric]:
        connection.execute("delete from app.exports")
        yield DbMetric("written", "Written.", [({}, 1)])

    assert scraped(DatabaseCollector(settings, [writing])) == {"mailmart_database_up": 1}


@pytest.mark.parametrize("how", ["refused", "hanging"])
def test_unavailable_database_is_reported_in_bounded_time(settings: Settings, how: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if how == "hanging":
            # connections are accepted and never answered
            server.listen(64)
        url = f"postgresql://x@127.0.0.1:{server.getsockname()[1]}/x"
        collector = DatabaseCollector(Settings(url, None, settings.home), PARTS)
        for _ in range(2):
            began = time.monotonic()
            assert scraped(collector) == {"mailmart_database_up": 0}
            assert time.monotonic() - began < SCRAPE_TIMEOUT_SECONDS + 5
        threads = [thread for thread in threading.enumerate() if thread.name == "metrics" and thread.is_alive()]
        assert len(threads) <= 1
