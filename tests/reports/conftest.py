"""What the tests of deliveries have in common."""

from __future__ import annotations

import pytest

from tests.reports.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody trusts yet."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this process trusts, and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority
