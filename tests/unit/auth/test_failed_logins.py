"""Invalid API keys are counted for each client."""

from __future__ import annotations

from api.auth.failed_logins import MAX_FAILURES, WINDOW_SECONDS, FailedLogins


def test_a_client_is_blocked_after_too_many_failures() -> None:
    failures = FailedLogins()
    for _ in range(MAX_FAILURES - 1):
        failures.record("192.0.2.1")
    assert failures.seconds_blocked("192.0.2.1") == 0
    failures.record("192.0.2.1")
    assert 0 < failures.seconds_blocked("192.0.2.1") <= WINDOW_SECONDS
    assert failures.seconds_blocked("192.0.2.2") == 0
