"""Prometheus metrics of all worker processes, served by a process of its own on a loopback port."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from api.errors import ServerError
from api.processes.parent_death import end_with_parent
from api.settings import Settings

# prometheus_client reads it on import, so it has to be set before
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
ADDRESS = "127.0.0.1"


@contextmanager
def serve_metrics(settings: Settings, *, with_database: bool = True) -> Iterator[None]:
    """Serves /metrics on a port of 127.0.0.1 while the block runs; port 0 turns it off.

    Worker processes that are started inside the block write their counts to files, which the metrics server sums. With
    `with_database`, it adds the metrics that are read from the database, which cover all processes and machines.

    Raises:
        ServerError: the port is in use.
    """
    port = settings.metrics_port
    if not port:
        yield
        return
    folder = tempfile.mkdtemp(prefix="mailmart-metrics-")
    os.environ[MULTIPROCESS_FOLDER] = folder
    receiver, sender = multiprocessing.Pipe(duplex=False)
    # forked before this process has threads
    process = multiprocessing.get_context("fork").Process(target=_run, args=(settings, sender, with_database), daemon=True)
    process.start()
    sender.close()
    try:
        problem = receiver.recv()
        if problem:
            raise ServerError(
                f"cannot serve metrics on {ADDRESS}:{port}: {problem}",
                hint="Set MAILMART_METRICS_PORT to another port, or to 0.",
            )
        yield
    finally:
        process.terminate()
        process.join()
        shutil.rmtree(folder, ignore_errors=True)


def _run(settings: Settings, sender: Connection, with_database: bool) -> None:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    from api.builds.metrics import build_metrics, continuous_build_metrics, nightly_run_metrics
    from api.exports.metrics import export_metrics
    from api.jobs.metrics import job_metrics
    from api.observability.db_metrics import DatabaseCollector
    from api.observability.logs import configure_logs
    from api.reports.metrics import delivery_metrics

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    end_with_parent()
    configure_logs()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    if with_database:
        builds = (build_metrics, continuous_build_metrics, nightly_run_metrics)
        jobs = (export_metrics, job_metrics, delivery_metrics)
        registry.register(DatabaseCollector(settings, (*builds, *jobs)))
    try:
        start_http_server(settings.metrics_port, addr=ADDRESS, registry=registry)
    except OSError as error:
        sender.send(error.strerror or str(error))
        return
    sender.send("")
    threading.Event().wait()
