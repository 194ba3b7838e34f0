"""A certificate authority for https and SMTP servers in the test's own process."""

from __future__ import annotations

from tests.support.certificate_authority import authority, trusted

__all__ = ["authority", "trusted"]
