"""The metrics of all processes of a service, at a loopback port of their own, out of a process of its own."""

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

# read by prometheus_client when it is imported: before any of our processes does
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
ADDRESS = "127.0.0.1"


@contextmanager
def serve_metrics(settings: Settings) -> Iterator[None]:
    """Serves /metrics at a port of 127.0.0.1 while the block runs; with port 0 there is none.

    The workers' processes, started inside, write what they count to files that this one sums. Beside it is what the database
    knows, of whichever process and machine.

    Raises:
        ServerError: the port is taken.
    """
    port = settings.metrics_port
    if not port:
        yield
        return
    folder = tempfile.mkdtemp(prefix="mailmart-metrics-")
    os.environ[FOLDER] = folder
    ready, says = multiprocessing.Pipe(duplex=False)
    # forked before anything here has threads
    process = multiprocessing.get_context("fork").Process(target=_expose, args=(settings, says), daemon=True)
    process.start()
    says.close()
    try:
        problem = ready.recv()
        if problem:
            raise ServerError(
                f"cannot show metrics at {ADDRESS}:{port}: {problem}", hint="Set MAILMART_METRICS_PORT to another port, or to 0."
            )
        yield
    finally:
        process.terminate()
        process.join()
        shutil.rmtree(folder, ignore_errors=True)


def _expose(settings: Settings, says: Connection) -> None:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    from api.builds.metrics import build_metrics, nightly_run_metrics
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
    registry.register(
        DatabaseCollector(settings, (build_metrics, nightly_run_metrics, export_metrics, job_metrics, delivery_metrics))
    )
    try:
        start_http_server(settings.metrics_port, addr=ADDRESS, registry=registry)
    except OSError as error:
        says.send(error.strerror or str(error))
        return
    says.send("")
    threading.Event().wait()
