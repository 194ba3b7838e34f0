"""The script that draws charts in a browser: Vega, Vega-Lite and Vega-Embed in one file.

vl-convert carries these libraries and makes the file without a network. That takes two seconds and 160 MB, so a process of its
own does it, once for each home folder, when the first browser asks for it; `mailmart demo` asks before it prints its address.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

from api.errors import ApiError
from api.pages.assets import StaticFile, static_file
from api.settings import PROJECT_ROOT

LOG = logging.getLogger(__name__)
PACKAGE = "vl-convert-python"
# the script takes only this from the libraries
SNIPPET = "window.vegaEmbed = vegaEmbed;"
SECONDS_TO_MAKE = 60
# strangers may ask for it: what failed is not tried again at each request
SECONDS_BETWEEN_TRIES = 300


class ChartBundleUnavailable(ApiError):
    """The script of the charts cannot be made; the pages show their tables."""

    status = 503
    code = "STORAGE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("Charts cannot be drawn now; the server's log says why.", headers={"Retry-After": "300"})


class ChartBundle:
    """The file, made on first use; shared by the threads of a process, and through its home folder by all processes."""

    def __init__(self, home: Path) -> None:
        version = importlib.metadata.version(PACKAGE)
        key = hashlib.blake2b(f"{version} {SNIPPET}".encode(), digest_size=8).hexdigest()
        self.name = f"charts-{key}.js"
        self._folder = home / "pages"
        self._lock = threading.Lock()
        self._file: StaticFile | None = None
        self._failed_at = -float("inf")

    def file(self) -> StaticFile:
        """The file.

        Raises:
            ChartBundleUnavailable: it cannot be made.
        """
        if self._file is None:
            with self._lock:
                if self._file is None:
                    self._file = self._load()
        return self._file

    def _load(self) -> StaticFile:
        if time.monotonic() - self._failed_at < SECONDS_BETWEEN_TRIES:
            raise ChartBundleUnavailable
        path = self._folder / self.name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # other processes of this home folder wait here, and then find it
            with (self._folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    _make(path)
            return static_file(self.name, path.read_bytes())
        except (OSError, subprocess.SubprocessError) as error:
            self._failed_at = time.monotonic()
            output = getattr(error, "stderr", None)
            LOG.exception("cannot bundle the script that draws charts: %s", output.decode()[-500:] if output else "")
            raise ChartBundleUnavailable from error


def _make(path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "api.pages.chart_bundle", str(path)],
        cwd=PROJECT_ROOT,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS_TO_MAKE,
    )


def _main(path: Path) -> None:
    import vl_convert

    unfinished = path.with_suffix(".part")
    unfinished.write_text(vl_convert.javascript_bundle(SNIPPET), encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
