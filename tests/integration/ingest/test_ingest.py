"""`mailmart ingest`: what is loaded, what is rejected, and that nothing is lost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.support.command import mailmart


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement).fetchall()


def bodies(settings: Settings) -> list[Any]:
    return [body for (body,) in rows(settings, "select payload from raw.webhook_payloads order by payload_id")]


def ingest(settings: Settings, path: Path | str, provider: str = "sendgrid", stdin: bytes = b"") -> Any:
    return mailmart(settings, "ingest", "--provider", provider, "--workspace", "w", str(path), stdin=stdin)


EVENT = {"event": "open", "email": "a@b.example"}
SHAPES = {
    "an object": json.dumps(EVENT),
    "an object over many lines": json.dumps(EVENT, indent=2),
    "an array": json.dumps([EVENT, EVENT]),
    "an array over many lines": json.dumps([EVENT, EVENT], indent=2),
    "lines": f"{json.dumps(EVENT)}\n{json.dumps(EVENT)}\n",
    "lines with blank ones and carriage returns": f"\r\n{json.dumps(EVENT)}\r\n\r\n  {json.dumps(EVENT)}  \r\n",
    "a byte order mark": "\ufeff" + json.dumps(EVENT),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_bodies_are_loaded_unchanged(settings: Settings, tmp_path: Path, shape: str, packed: bool) -> None:
    text = SHAPES[shape].encode()
    path = tmp_path / "bodies.json"
    path.write_bytes(gzip.compress(text) if packed else text)
    result = ingest(settings, path)
    assert result.exit_code == 0, result.output
    expected = [EVENT, EVENT] if shape.startswith("lines") else [json.loads(SHAPES[shape].lstrip("\ufeff"))]
    assert bodies(settings) == expected
    assert rows(settings, "select distinct provider, workspace_id from raw.webhook_payloads") == [("sendgrid", "w")]


def test_standard_input(settings: Settings) -> None:
    result = ingest(settings, "-", stdin=json.dumps(EVENT).encode())
    assert result.exit_code == 0, result.output
    assert "standard input: 1 bodies loaded, 0 rejected" in result.output
    assert bodies(settings) == [EVENT]


def test_broken_lines_are_rejected_and_the_others_loaded(settings: Settings, tmp_path: Path) -> None:
    good = json.dumps(EVENT).encode()
    path = tmp_path / "bodies.jsonl"
    path.write_bytes(
        b"\n".join([good, b"{broken", good, b'"text"', b'{"a": "\\u0000"}', b'{"a": "\xff"}', b'{"a": "\x00"}', b"[] []", good])
    )
    result = ingest(settings, path)
    assert result.exit_code == 1
    assert "3 bodies loaded, 6 rejected" in result.output
    assert bodies(settings) == [EVENT] * 3
    rejected = [json.loads(line) for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert [line["line"] for line in rejected] == [2, 4, 5, 6, 7, 8]
    assert rejected[0]["text"] == "{broken"
    assert "not JSON" in rejected[0]["reason"]
    assert rejected[1]["reason"] == "a JSON string, not an object or an array"
    assert "not UTF-8 at byte 8" in rejected[3]["reason"]
    assert all(line["reason"] and line["text"] for line in rejected)


def test_a_broken_first_line_rejects_no_other(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "bodies.jsonl"
    path.write_text("{broken\n" + json.dumps(EVENT) + "\n")
    assert ingest(settings, path).exit_code == 1
    assert bodies(settings) == [EVENT]


def test_a_truncated_gzip_file_is_loaded_as_far_as_possible(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "bodies.jsonl.gz"
    # text that compresses badly, so that a part of the file contains whole lines
    text = b"".join(json.dumps({"n": number, "x": hash(str(number))}).encode() + b"\n" for number in range(20_000))
    path.write_bytes(gzip.compress(text)[:-5000])
    result = ingest(settings, path)
    assert result.exit_code == 1
    assert len(bodies(settings)) > 10_000
    assert "cannot be read from here on" in Path(f"{path}.rejected.jsonl").read_text()


def test_a_file_of_several_batches(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "bodies.jsonl"
    path.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(45_000)) + "broken\n")
    result = ingest(settings, path)
    assert "45000 bodies loaded, 1 rejected" in result.output
    assert rows(settings, "select count(*), count(distinct payload) from raw.webhook_payloads") == [(45_000, 45_000)]
    assert json.loads(Path(f"{path}.rejected.jsonl").read_text())["line"] == 45_001


def test_native_events(settings: Settings, tmp_path: Path) -> None:
    event = {"event_id": "e", "message_id": "m", "event_type": "bounced", "occurred_at": "2025-11-01T10:00:00Z"}
    more = {
        "recipient": "Jane <Jane@Example.COM>",
        "smtp_code": 550,
        "is_machine": False,
        "diagnostic": "550 5.1.1 <jane@example.com>: no such user",
        "url": "https://x.example/?to=jane%40example.com",
    }
    broken = [
        {**event, "event_id": ""},
        {**event, "occurred_at": "yesterday-ish"},
        {**event, "smtp_code": "550"},
        {**event, "smtp_code": 5.5},
        {**event, "smtp_codes": 1},
        {"event_id": "x"},
        7,
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in [event | more, [event, broken[0]], *broken[1:]]))
    result = ingest(settings, path, "native")
    assert result.exit_code == 1
    assert "2 events loaded, 7 rejected" in result.output
    events = rows(
        settings,
        "select event_id, workspace_id, recipient_domain, smtp_code, diagnostic, url, recipient_hash,"
        " app.recipient_hash('jane@example.com') from raw.email_events order by recipient_domain nulls last",
    )
    assert events[0][:6] == (
        "e",
        "w",
        "example.com",
        550,
        "550 5.1.1 <address>: no such user",
        "https://x.example/?to=<address>",
    )
    assert events[0][6] == events[0][7] is not None
    reasons = [json.loads(line)["reason"] for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert reasons == [
        "no event_id",
        "occurred_at is not a time: yesterday-ish",
        "smtp_code is not a number",
        "smtp_code is not a whole number: 5.5",
        "unknown field smtp_codes",
        "no event_type, no message_id, no occurred_at",
        "a JSON number, not an object",
    ]


def test_wrong_arguments_are_explained(settings: Settings, tmp_path: Path) -> None:
    assert "does not exist" in ingest(settings, tmp_path / "nothing.json").output
    result = mailmart(settings, "ingest", "--provider", "sendgrid", "--workspace", " ", "-")
    assert result.exit_code == 2
    assert "empty" in result.output
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    result = ingest(settings, empty)
    assert result.exit_code == 0
    assert "0 bodies loaded" in result.output
    assert "has no workspace 'w' yet" in result.output
