"""What the analytics endpoints need."""

from __future__ import annotations

from dataclasses import dataclass

from api.analytics.cache import ResponseCache
from api.auth.guard import RequestGuard
from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.drawing.drawer import Drawer


@dataclass(frozen=True)
class AnalyticsServices:
    """What the endpoints need; shared by all apps of a process."""

    pool: ConnectionPool
    publications: PublicationCache
    guard: RequestGuard
    cache: ResponseCache
    drawer: Drawer
