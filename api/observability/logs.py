"""The format of log lines: JSON, or plain text on a terminal."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from api.observability.log_writer import LogWriter


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the record's own fields, and the stack trace of an error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, option=orjson.OPT_UTC_Z, default=str).decode()


def configure_logs() -> None:
    """Sends the log of this process to stderr. Each line is written when it is logged."""
    _configure(logging.StreamHandler())


def configure_server_logs() -> LogWriter:
    """Sends the log of this process to stderr, by a thread: for processes that write a line for each request.

    Returns the writer, which is to be closed when the process ends.
    """
    writer = LogWriter(sys.stderr)
    _configure(writer)
    return writer


def _configure(handler: logging.Handler) -> None:
    if sys.stderr.isatty():
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    else:
        handler.setFormatter(JsonFormatter())
    # neither format contains the caller or the thread, and finding them is half of a line's cost
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # it logs each statement of a migration: 600 lines at the first start
    logging.getLogger("yoyo").setLevel(logging.WARNING)
