"""Downloads and caches the certificates that SNS signs with."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from cachetools import TTLCache
from cryptography.x509 import Certificate, load_pem_x509_certificate

from api.errors import CertificateUnavailable, HttpGetFailed, SignatureError
from api.net.http_get import http_get

MAX_CERTIFICATE_BYTES = 64 * 1024
DOWNLOAD_SECONDS = 5
CACHE_SECONDS = 24 * 3600
MAX_CERTIFICATES = 64
# answers that say that there is no such certificate; after any other the download is tried again
_MISSING = (400, 403, 404, 410)


class CertificateCache:
    """Certificates by URL. Of a URL that has none that is remembered for a minute. For use by several threads."""

    def __init__(self, download: Callable[[str], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._download = download
        self._certificates: TTLCache[str, Certificate] = TTLCache(MAX_CERTIFICATES, CACHE_SECONDS, timer=clock)
        self._invalid: TTLCache[str, str] = TTLCache(MAX_CERTIFICATES, 60, timer=clock)
        self._lock = Lock()

    def get(self, url: str) -> Certificate:
        """The certificate of a URL that was checked to be one of SNS.

        Raises:
            SignatureError: there is no certificate at the URL.
            CertificateUnavailable: it cannot be downloaded now.
        """
        with self._lock:
            certificate, reason = self._certificates.get(url), self._invalid.get(url)
        if certificate is not None:
            return certificate
        if reason is not None:
            raise SignatureError(reason)
        try:
            certificate = _parse(self._download(url))
        except SignatureError as error:
            with self._lock:
                self._invalid[url] = error.reason
            raise
        with self._lock:
            self._certificates[url] = certificate
        return certificate


def download(url: str) -> bytes:
    """The bytes at an https URL, without following redirects, in at most DOWNLOAD_SECONDS.

    Raises:
        SignatureError: there is nothing at the URL, or more than a certificate.
        CertificateUnavailable: the server is unavailable.
    """
    try:
        response = http_get(url, seconds=DOWNLOAD_SECONDS, max_bytes=MAX_CERTIFICATE_BYTES + 1)
    except HttpGetFailed as error:
        raise CertificateUnavailable(f"the certificate of SNS cannot be downloaded: {error.reason}") from error
    if response.status in _MISSING:
        raise SignatureError("there is no certificate at its URL")
    if response.status != 200:
        raise CertificateUnavailable(f"SNS returns {response.status} for its certificate")
    if len(response.content) > MAX_CERTIFICATE_BYTES:
        raise SignatureError(f"the certificate has more than {MAX_CERTIFICATE_BYTES} bytes")
    return response.content


def _parse(content: bytes) -> Certificate:
    try:
        return load_pem_x509_certificate(content)
    except ValueError:
        raise SignatureError("what is at the certificate's URL is not a certificate") from None


_cache = CertificateCache(download)


def cached_certificate(url: str) -> Certificate:
    """The certificate of a URL, from the cache of this process. Raises as CertificateCache.get."""
    return _cache.get(url)
