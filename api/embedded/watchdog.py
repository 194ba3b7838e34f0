"""Starts the embedded servers again when they die."""

from __future__ import annotations

import logging
import threading

from api.embedded import servers
from api.embedded.database_url import embedded_database_url
from api.embedded.paths import has_servers
from api.errors import MailmartError, ServerError
from api.settings import Settings

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_LOOKS = 1.0
MAX_WAIT = 30.0
# starting takes as long as PostgreSQL needs to repair what a crash has left: stopping waits for it, within reason
SECONDS_TO_FINISH = 180.0


class ServerWatchdog:
    """Looks after the embedded servers in a thread of its own, because to start one takes its time.

    Attributes:
        has_moved: PostgreSQL answers at another address than before; whoever acts on it takes it back.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.has_moved = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Begins; with servers that are configured, there is nothing to do."""
        if self._settings.database_url is None or self._settings.redis_url is None:
            self._thread.start()

    def stop(self) -> None:
        """Ends; nothing is started afterwards."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(SECONDS_TO_FINISH)

    def _keep(self) -> None:
        wait = SECONDS_BETWEEN_LOOKS
        while not self._over.wait(wait):
            try:
                self._look()
                wait = SECONDS_BETWEEN_LOOKS
            except MailmartError as error:
                wait = min(wait * 2, MAX_WAIT)
                LOG.error("%s (%s); it is tried again in %g s", error.message, error.hint, wait)  # noqa: TRY400 - it says it all
            except Exception:
                wait = min(wait * 2, MAX_WAIT)
                LOG.exception("the embedded servers cannot be looked after; it is tried again in %g s", wait)

    def _look(self) -> None:
        home = self._settings.home
        if not has_servers(home):
            # an empty database is no substitute
            raise ServerError(
                f"{home} is gone, and the embedded servers with it", hint="Put it back, or stop this and start anew."
            )
        missing = servers.missing(self._settings)
        if not missing:
            return
        LOG.warning("%s %s died, and is started again", " and ".join(missing), "have" if len(missing) > 1 else "has")
        address = self._address()
        servers.start(self._settings)
        LOG.info("%s answers again", " and ".join(missing))
        # the port was taken by somebody else meanwhile
        self.has_moved = self.has_moved or self._address() != address

    def _address(self) -> str:
        return "" if self._settings.database_url else embedded_database_url(self._settings.home)
