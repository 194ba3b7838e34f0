"""What granian loads in each of its workers."""

from __future__ import annotations

import atexit
import logging

from api.app import Service
from api.orphans import end_with_parent
from api.settings import Settings


def make_service() -> Service:
    """The service of this process, with the environment's settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # a worker that outlived a killed server would keep its port
    end_with_parent()
    service = Service(Settings.from_environment())
    atexit.register(service.close)
    return service
