"""How many downloads run at a time."""

from __future__ import annotations

import pytest

from api.errors import TooManyDownloads
from api.exports.download_limits import DownloadLimits


def test_each_limit_is_of_its_own() -> None:
    limits = DownloadLimits(per_link=2, per_workspace=3, per_process=4)
    release = limits.acquire("a", "w")
    limits.acquire("a", "w")
    with pytest.raises(TooManyDownloads, match="this link"):
        limits.acquire("a", "w")
    limits.acquire("b", "w")
    with pytest.raises(TooManyDownloads, match="this workspace"):
        limits.acquire("c", "w")
    limits.acquire("d", "other")
    with pytest.raises(TooManyDownloads, match="this process"):
        limits.acquire("e", "third")
    release()
    # released twice it counts once
    release()
    limits.acquire("a", "w")
    with pytest.raises(TooManyDownloads):
        limits.acquire("a", "w")
