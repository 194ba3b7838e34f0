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
    assert "standard input: 1 body loaded, 0 rejected" in result.output
    assert bodies(settings) == [EVENT]


def test_broken_lines_are_rejected_and_the_others_loaded(settings: Settings, tmp_path: Path) -> None:
    good = json.dumps(EVENT).encode()
    path = tmp_path / "bodies.jsonl"
    path.write_bytes(
        b"\n".join([good, b"{broken", good, b'"text"', b'{"a": "\\u0000"}', b'{"a": "\xff"}', b'{"a": "\x00"}', b"[] []", good])
    )
    result = ingest(settings, path)
    assert result.exit_code == 1
    assert "4 bodies loaded, 5 rejected (5 unreadable_body)" in result.output
    assert bodies(settings) == [EVENT, EVENT, {"a": "\ufffd"}, EVENT]
    rejected = [json.loads(line) for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert [line["line"] for line in rejected] == [2, 4, 6, 7, 8]
    assert rejected[0]["text"] == "{broken"
    assert "not JSON" in rejected[0]["reason"]
    assert rejected[1]["reason"] == "a JSON string, not an object or an array"
    assert "not UTF-8 at byte 8" in rejected[2]["reason"]
    assert all(line["reason"] and line["text"] for line in rejected)


NASTY: dict[str, tuple[bytes, list[str], int]] = {
    # name: the line, the text of each body that is loaded, and the number of rejected ones
    "nested": (b"[" * 6000 + b"]" * 6000, [], 1),
    "nested and cut": (b'{"a":' * 100_000, [], 1),
    "large": (b'{"a": "' + b"x" * 11_000_000 + b'"}', [], 1),
    "numbers": (b'{"a": 1.10, "b": 123456789012345678901234567890}', ['{"a": 1.10, "b": 123456789012345678901234567890}'], 0),
    "wide number": (b'{"a": 1e200000}', [], 1),
    "characters": (rb'[{"a": "x\u0000\ud83d \ud83d\ude00 \\u0000"}]', ['[{"a": "x\ufffd\ufffd \U0001f600 \\\\u0000"}]'], 0),
    "NaN": (b'{"a": NaN}', [], 1),
    "trailing comma": (b'{"a": 1,}', [], 1),
    "many events": (b"[" + b"{}," * 10_000 + b"{}]", ["{}"] * 10_001, 0),
}


def test_no_line_costs_another(settings: Settings, tmp_path: Path) -> None:
    good = '{"event": "open"}'
    path = tmp_path / "bodies.jsonl"
    path.write_bytes(b"".join(good.encode() + b"\n" + line + b"\n" for line, _, _ in NASTY.values()))
    result = ingest(settings, path)
    assert result.exit_code == 1
    expected = [text for _, loaded, _ in NASTY.values() for text in (good, *loaded)]
    found = [text for (text,) in rows(settings, "select payload::text from raw.webhook_payloads order by payload_id")]
    assert found == expected
    kept = rows(settings, "select line, problem, reason, source, length(body) from raw.rejected_payloads order by line")
    assert [line for line, *_ in kept] == [2, 4, 6, 10, 14, 16]
    assert {(problem, source) for _, problem, _, source, _ in kept} == {("unreadable_body", str(path)), ("too_large", str(path))}
    assert all(reason and 0 < length <= 16384 for _, _, reason, _, length in kept)
    # again: the file's lines are the same, and nothing is counted twice
    ingest(settings, path)
    assert rows(settings, "select count(*) from raw.rejected_payloads") == [(6,)]


def test_of_a_batch_that_fails_only_the_line_that_fails_is_rejected(settings: Settings, tmp_path: Path) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("alter table raw.webhook_payloads add check (payload ->> 'n' not in ('3', '7'))")
    path = tmp_path / "bodies.jsonl"
    path.write_text("".join(json.dumps({"n": number}) + "\n" for number in range(100)))
    result = ingest(settings, path)
    assert "98 bodies loaded, 2 rejected" in result.output
    rejected = [json.loads(line) for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert [line["line"] for line in rejected] == [4, 8]
    assert all("violates check constraint" in line["reason"] for line in rejected)


def test_native_events_of_any_size_take_linear_time(settings: Settings, tmp_path: Path) -> None:
    event = {"event_id": "e", "message_id": "m", "event_type": "bounced", "occurred_at": "2025-11-01T10:00:00Z"}
    path = tmp_path / "events.json"
    texts = {"diagnostic": "a" * 1_000_000 + "@" + "b" * 1_000_000, "url": "%40" * 300_000, "recipient": "<" * 100_000 + "@"}
    wide = '{"event_id": [' + ",".join(["1e131071"] * 9_000) + "]}"
    keys = json.dumps(dict.fromkeys(map(str, range(100_000)), 1))
    path.write_text(f"{json.dumps([{}] * 9999 + [event])}\n{json.dumps(event | texts)}\n{wide}\n{keys}\n")
    result = ingest(settings, path, "native")
    assert "2 events loaded, 10,001 rejected (10,001 invalid_event)" in result.output
    assert rows(settings, "select max(length(diagnostic)), max(length(url)) from raw.email_events")[0] <= (4000, 4000)
    assert rows(settings, "select max(length(reason)), count(*) from raw.rejected_payloads")[0] <= (500, 4)


def test_of_a_large_array_on_one_line_only_the_broken_event_is_rejected(settings: Settings, tmp_path: Path) -> None:
    event = {"message_id": "m", "event_type": "sent", "occurred_at": "2025-11-01T10:00:00Z"}
    events = [{"event_id": f"e{number}", **event} for number in range(10_001)]
    path = tmp_path / "events.json"
    path.write_text(json.dumps([*events[:5000], {"event_id": "broken"}, *events[5000:]]))
    result = ingest(settings, path, "native")
    assert "10,001 events loaded, 1 rejected (1 invalid_event)" in result.output
    (rejected,) = [json.loads(line) for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert (rejected["line"], rejected["text"]) == (1, '{"event_id": "broken"}')
    assert rows(settings, "select count(distinct event_id) from raw.email_events") == [(10_001,)]


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
    assert "45,000 bodies loaded, 1 rejected" in result.output
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
        "sequence_id": "s",
        "step": "2",
        "variant": "B",
        "tags": [" cold ", "cold", "", "of jane@example.com", *(f"tag {number}" for number in range(30))],
    }
    broken = [
        {**event, "event_id": ""},
        {**event, "occurred_at": "yesterday-ish"},
        {**event, "smtp_code": "550"},
        {**event, "smtp_code": 5.5},
        {**event, "smtp_codes": 1},
        {**event, "tags": "cold"},
        {**event, "tags": ["cold", 7], "step": 2},
        {"event_id": "x"},
        7,
    ]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in [event | more, [event, broken[0]], *broken[1:]]))
    result = ingest(settings, path, "native")
    assert result.exit_code == 1
    assert "2 events loaded, 9 rejected" in result.output
    events = rows(
        settings,
        "select event_id, workspace_id, recipient_domain, smtp_code, diagnostic, url, recipient_hash,"
        " app.recipient_hash('jane@example.com'), sequence_id, step, variant, tags"
        " from raw.email_events order by recipient_domain nulls last",
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
    assert events[0][8:] == ("s", "2", "B", ["cold", "of <address>", *(f"tag {number}" for number in range(18))])
    assert events[1][8:] == (None, None, None, None)
    reasons = [json.loads(line)["reason"] for line in Path(f"{path}.rejected.jsonl").read_text().splitlines()]
    assert reasons == [
        "no event_id",
        "occurred_at is not a time in RFC 3339 such as 2026-11-20T10:00:00Z: yesterday-ish",
        "smtp_code is not a number",
        "smtp_code is not a whole number: 5.5",
        "unknown field smtp_codes",
        "tags is not an array of strings",
        "step is not a string, tags is not an array of strings",
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
