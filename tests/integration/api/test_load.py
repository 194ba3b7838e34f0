"""The service under load while batches are published: no error, no mixed batches, no growing memory."""

from __future__ import annotations

import dataclasses
import http.client
import os
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from api.auth.api_keys import create_key
from api.settings import Settings
from tests.integration.api.conftest import ONE_MESSAGE
from tests.integration.api.serving import serving
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt

# so many batches are published under load, and as many as these seconds have room for
SECONDS = float(os.environ.get("MAILMART_TEST_LOAD_SECONDS", "0"))
MIN_BATCHES = 3
CONNECTIONS = 32 if SECONDS else 8
PATHS = ("w/campaigns/c/analytics", "w/analytics/overview", "w/campaigns/c/analytics?groupBy=week")
# of a further publication: with the second one, the contracts of two are in memory for a moment
MAX_GROWTH_MEGABYTES = 10


def resident_megabytes(pid: int) -> float:
    """The resident memory of a process and its children."""
    total = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (OSError, ProcessLookupError):
            continue
        if str(pid) in (fields["Pid"].strip(), fields["PPid"].strip()):
            total += int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
    return total


@pytest.mark.timeout(SECONDS + 400)
def test_every_response_belongs_to_one_batch(one_message: Settings, tmp_path: Path) -> None:
    key = create_key(one_message, "w", name="load")
    statuses: Counter[int] = Counter()
    # ETag → bodies; each ETag belongs to one path
    bodies: dict[str, set[bytes]] = {}
    problems: list[str] = []
    stop = threading.Event()

    def load(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(service.address).netloc, timeout=30)
        tags: dict[str, str] = {}
        turn = number
        # leaves processor time to the builds
        while not stop.wait(0.02):
            turn += 1
            path = PATHS[turn % len(PATHS)]
            # every second request is conditional
            headers = {"Authorization": f"Bearer {key}"}
            if turn % 2 and path in tags:
                headers["If-None-Match"] = tags[path]
            connection.request("GET", f"/api/v1/workspaces/{path}", headers=headers)
            response = connection.getresponse()
            body = response.read()
            statuses[response.status] += 1
            tag = response.headers["ETag"]
            if response.status == 200:
                tags[path] = tag
                bodies.setdefault(tag, set()).add(body)
            elif response.status != 304 or tag != tags[path]:
                problems.append(f"{response.status} {body[:200]!r}")
        connection.close()

    with serving(one_message, tmp_path / "log", workers=2) as service:
        threads = [threading.Thread(target=load, args=(number,)) for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        memory = []
        end = time.monotonic() + SECONDS
        sent = 1
        while sent <= MIN_BATCHES or time.monotonic() < end:
            load_events(
                one_message,
                [dataclasses.replace(ONE_MESSAGE, event_id=f"e{sent}", message_id=f"m{sent}")],
                datetime.now(UTC) - timedelta(minutes=30) + timedelta(seconds=sent),
            )
            run_dbt(one_message, *WITHOUT_UNIT_TESTS)
            sent += 1
            time.sleep(2)
            memory.append(resident_megabytes(service.process.pid))
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert set(statuses) == {200, 304}
    assert all(len(versions) == 1 for versions in bodies.values())
    # each data_as_of has one number, the same in every section of every response
    numbers: dict[str, set[int]] = {}
    for body in (next(iter(versions)) for versions in bodies.values()):
        content = orjson.loads(body)
        seen = numbers.setdefault(content["meta"]["data_as_of"], set())
        seen.add(content["data"]["summary"]["emails_sent"])
        if "time_series" in content["data"]:
            seen.add(sum(point["sent"] for point in content["data"]["time_series"]))
    assert all(len(values) == 1 for values in numbers.values()), numbers
    assert max(max(values) for values in numbers.values()) == sent
    assert max(memory[2:]) - memory[1] < MAX_GROWTH_MEGABYTES, memory
    print(f"{statuses}, {len(bodies)} bodies, {sent} batches, {memory[0]:.0f} to {memory[-1]:.0f} MB")
