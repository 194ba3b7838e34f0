"""Restarts the embedded servers when they end."""

from __future__ import annotations

import logging
import threading

from api.embedded import servers
from api.embedded.paths import has_servers
from api.errors import MailmartError, ServerError
from api.settings import Settings, embedded_database_url

LOG = logging.getLogger(__name__)
CHECK_INTERVAL_SECONDS = 1.0
MAX_RETRY_DELAY_SECONDS = 30.0
# PostgreSQL may have to repair its data after a crash: stopping waits for a start that is under way
STOP_TIMEOUT_SECONDS = 180.0


class ServerWatchdog:
    """Checks the embedded servers once a second, in a thread: starting one takes a while.

    Attributes:
        url_changed: PostgreSQL has another address than before. The reader resets it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url_changed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts checking; does nothing if no server is embedded."""
        if self._settings.database_url is None or self._settings.redis_url is None:
            self._thread.start()

    def stop(self) -> None:
        """Stops checking; no server is started afterwards."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_TIMEOUT_SECONDS)

    def _run(self) -> None:
        delay = CHECK_INTERVAL_SECONDS
        while not self._stopping.wait(delay):
            try:
                self._check()
                delay = CHECK_INTERVAL_SECONDS
            except MailmartError as error:
                delay = min(delay * 2, MAX_RETRY_DELAY_SECONDS)
                LOG.error("%s (%s); next check in %g s", error.message, error.hint, delay)  # noqa: TRY400 - a trace adds nothing
            except Exception:
                delay = min(delay * 2, MAX_RETRY_DELAY_SECONDS)
                LOG.exception("cannot check the embedded servers; next check in %g s", delay)

    def _check(self) -> None:
        home = self._settings.home
        if not has_servers(home):
            # never start an empty database in place of the lost one
            raise ServerError(
                f"{home} was deleted, with the data of the embedded servers",
                hint="Restore it, or stop mailmart and start again with an empty database.",
            )
        stopped = " and ".join(servers.not_running(self._settings))
        if not stopped:
            return
        LOG.warning("%s ended unexpectedly; restarting", stopped)
        url = self._database_url()
        servers.start(self._settings)
        LOG.info("%s restarted", stopped)
        # the system may have emptied its temporary folder, with the folder of the sockets
        self.url_changed = self.url_changed or self._database_url() != url

    def _database_url(self) -> str:
        return "" if self._settings.database_url else embedded_database_url(self._settings.home)
