"""What granian loads in each of its workers."""

from __future__ import annotations

import atexit

from api.observability.logs import configure_logs
from api.processes.parent_death import end_with_parent
from api.server.app import Service
from api.settings import Settings


def make_service() -> Service:
    """The service of this process, with the environment's settings."""
    configure_logs()
    # a worker that outlived a killed server would keep its port
    end_with_parent()
    service = Service(Settings.from_environment())
    atexit.register(service.close)
    return service
