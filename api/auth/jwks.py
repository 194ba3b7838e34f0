"""The keys of a JWKS address, fetched in a thread: a request waits for them only if it cannot be answered without."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Mapping

import jwt

LOG = logging.getLogger(__name__)
# after this time a key that was withdrawn is no longer accepted, if the server answers
TTL_SECONDS = 300.0
# from then on they are fetched while requests use those of before
REFRESH_SECONDS = 240.0
MIN_FETCH_INTERVAL_SECONDS = 10.0
# of each read; a request waits no longer than that for all of them
TIMEOUT_SECONDS = 3.0
# a fetch that takes longer, because the server sends a byte now and then, keeps no other from being begun
MAX_FETCH_SECONDS = 30.0


class Jwks:
    """The keys by their ids, for all threads of a process.

    They are fetched at most once in ten seconds, no matter how many tokens name unknown keys. The last ones stay valid while they
    cannot be fetched.
    """

    def __init__(self, url: str) -> None:
        # its own caches are off: it holds a lock while it fetches, for which every token would wait
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=TIMEOUT_SECONDS)
        self._changed = threading.Condition()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = -TTL_SECONDS
        self._fetch = 0
        self._began_at = -MAX_FETCH_SECONDS
        self._is_fetching = False
        self._has_failed = False

    def find(self, token: str) -> jwt.PyJWK:
        """The key that a token names in its header.

        Raises:
            jwt.PyJWTError: the token names no key of the JWKS, or the keys could not be fetched yet.
        """
        key_id = str(jwt.get_unverified_header(token).get("kid", ""))
        with self._changed:
            age = time.monotonic() - self._fetched_at
            if key_id not in self._keys or age >= REFRESH_SECONDS:
                self._begin_fetch()
            if key_id not in self._keys or (age >= TTL_SECONDS and not self._has_failed):
                self._changed.wait_for(lambda: not self._is_fetching, TIMEOUT_SECONDS)
            key = self._keys.get(key_id)
        if key is None:
            raise jwt.PyJWKClientError(f"the JWKS has no key {key_id[:60]!r}")
        return key

    def _begin_fetch(self) -> None:
        now = time.monotonic()
        is_running = self._is_fetching and now - self._began_at < MAX_FETCH_SECONDS
        if is_running or now - self._began_at < MIN_FETCH_INTERVAL_SECONDS:
            return
        self._fetch, self._began_at, self._is_fetching = self._fetch + 1, now, True
        threading.Thread(target=self._run, args=(self._fetch,), name="jwks", daemon=True).start()

    def _run(self, fetch: int) -> None:
        keys: dict[str, jwt.PyJWK] = {}
        try:
            keys = {str(key.key_id): key for key in self._client.get_signing_keys()}
        # whatever the server sends
        except (jwt.PyJWTError, OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            LOG.warning("cannot fetch the JWKS: %s", error)
        finally:
            with self._changed:
                # a later one knows better
                if fetch == self._fetch:
                    self._is_fetching, self._has_failed = False, not keys
                    if keys:
                        self._keys, self._fetched_at = keys, time.monotonic()
                    self._changed.notify_all()
