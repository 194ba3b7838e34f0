"""Each request gets its designed status, whatever it is, and what gets 200 is stored."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import http.client
import json
import socket
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.db.connection import connect
from api.ingest.bodies import MAX_BODY_BYTES
from api.server import unread_bodies
from api.server.intake import IntakeApp
from tests.integration.intake.conftest import WORKSPACE, Sources, source_id
from tests.integration.intake.running import Intake
from tests.support.exchanges import Client
from tests.support.waiting import wait_until

FORM = "application/x-www-form-urlencoded"
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def sendgrid_headers(body: bytes, timestamp: str = "1700000000") -> dict[str, str]:
    signature = base64.b64encode(KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()
    return {"X-Twilio-Email-Event-Webhook-Signature": signature, "X-Twilio-Email-Event-Webhook-Timestamp": timestamp}


def test_a_body_is_stored_as_it_came(intake: Intake, sources: Sources) -> None:
    body = b'\xef\xbb\xbf [{"event": "open", "n": 1.50, "marker": "as-it-came", "bad": "a\\u0000b\\ud800"}]\n'
    response = intake.post(sources.path(), body)
    assert (response.status, response.body) == (200, {"success": True})
    with connect(sources.settings, "mailmart_owner") as connection:
        row = connection.execute(
            "select provider, workspace_id, payload::text from raw.webhook_payloads where payload::text like '%as-it-came%'"
        ).fetchone()
    assert row is not None
    assert row[:2] == ("sendgrid", WORKSPACE)
    assert '"n": 1.50' in row[2]
    assert json.loads(row[2])[0]["bad"] == "a�b�"


def test_what_is_no_url_of_a_source_is_not_found(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    token = path.rpartition("/")[2]
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    for other in (
        *(f"/intake/sendgrid/{wrong}", f"/intake/mailgun/{token}", f"/intake/nobody/{token}", f"/intake/sendgrid/{token}/more"),
        *("/intake/sendgrid/", "/intake", "/", "/api/v1/workspaces", f"/intake/sendgrid/{token}%00", "/intake/sendgrid/' or 1=1"),
    ):
        for method in ("POST", "GET"):
            response = intake.request(method, other.replace(" ", "%20"), b"[]" if method == "POST" else b"")
            assert (response.status, response.body["error"]["code"]) == (404, "NOT_FOUND"), (method, other)
    assert intake.request("PUT", path, b"[]").status == 405
    assert intake.request("DELETE", path).headers["allow"] == "GET, HEAD, POST"
    assert intake.post(f"{path}/", [{"marker": "with-a-slash"}]).status == 200


def test_a_url_is_checked_before_it_is_saved(intake: Intake, sources: Sources) -> None:
    path = sources.path("mandrill", signing_keys=["key-of-mandrill"])
    assert intake.request("HEAD", path).status == intake.request("GET", path).status == 200
    # Mandrill's second attempt, signed with a key that is in its documentation
    form = urlencode({"mandrill_events": "[]"}).encode()
    signed = f"https://hooks.example.com{path}mandrill_events[]".encode()
    signature = base64.b64encode(hmac.new(b"test-webhook", signed, hashlib.sha1).digest()).decode()
    assert intake.post(path, form, Content_Type=FORM, X_Mandrill_Signature=signature).status == 200
    # SparkPost's
    assert intake.post(sources.path("sendgrid"), [{"msys": {}}]).status == 200


def test_signatures(intake: Intake, sources: Sources) -> None:
    path = sources.path(signing_keys=[PUBLIC_KEY])
    body = json.dumps([{"event": "open", "marker": "signed-sendgrid"}]).encode()
    headers = sendgrid_headers(body)
    assert intake.request("POST", path, body, headers).status == 200
    # again: providers repeat what they are not sure of, and each event has an id
    assert intake.request("POST", path, body, headers).status == 200
    for wrong_body, wrong in (
        (body, {}),
        (body.replace(b"open", b"opem"), headers),
        (body, {**headers, "X-Twilio-Email-Event-Webhook-Timestamp": "1700000001"}),
        (body, {**headers, "X-Twilio-Email-Event-Webhook-Signature": "AAAA"}),
        (b"not JSON", headers),
        (b"", headers),
    ):
        response = intake.request("POST", path, wrong_body, wrong)
        assert (response.status, response.body["error"]["code"]) == (401, "UNAUTHORIZED"), wrong_body
    assert sources.stored("signed-sendgrid") == 2
    # it may be signed before or after it is compressed
    packed = gzip.compress(body.replace(b"signed", b"zipped"))
    for signed_body in (gzip.decompress(packed), packed):
        of_body = sendgrid_headers(signed_body)
        assert intake.request("POST", path, packed, {**of_body, "Content-Encoding": "gzip"}).status == 200
    assert intake.request("POST", path, packed, {**headers, "Content-Encoding": "gzip"}).status == 401
    assert sources.rejected(path) == []
    _wait_for_counts(sources, path, (4, 0, 7))


def test_mailgun_refuses_what_is_older_than_a_day(intake: Intake, sources: Sources) -> None:
    path = sources.path("mailgun", signing_keys=["secret-of-mailgun"])

    def post(age: int, token: str) -> int:
        timestamp = str(int(time.time()) - age)
        signature = hmac.new(b"secret-of-mailgun", (timestamp + token).encode(), hashlib.sha256).hexdigest()
        signed = {"timestamp": timestamp, "token": token, "signature": signature}
        return intake.post(path, {"signature": signed, "event-data": {"event": "opened", "id": "m1"}}).status

    assert [post(0, "a" * 50), post(0, "a" * 50), post(23 * 3600, "b" * 50), post(25 * 3600, "c" * 50)] == [200, 200, 200, 401]


def test_content_encodings(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    body = json.dumps([{"marker": "packed"}] * 100).encode()
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(body[:50]) + gzip.compress(body[50:]),
        "deflate": zlib.compress(body),
        "identity": body,
        "GZIP": gzip.compress(body),
        "": body,
    }
    for encoding, content in packed.items():
        assert intake.post(path, content, Content_Encoding=encoding).status == 200, encoding
    assert intake.post(path, raw.compress(body) + raw.flush(), Content_Encoding="deflate").status == 200
    assert sources.stored("packed") == 6
    assert intake.post(path, body, Content_Encoding="br").status == 415
    assert intake.post(path, body, Content_Encoding="gzip, gzip").status == 415
    assert intake.post(path, gzip.compress(body)[:-9], Content_Encoding="gzip").status == 400
    assert intake.post(path, body, Content_Encoding="gzip").status == 400
    assert intake.post(path, body, Content_Encoding="deflate").status == 400


def test_bombs_and_large_bodies(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    largest = b'["' + b"x" * (MAX_BODY_BYTES - 20) + b'"]'
    assert intake.post(path, largest).status == 200
    # of 50 MiB, and of less, but too much for its size
    bomb = gzip.compress(b"[" + b" " * (50 * 1024 * 1024), 1)
    assert intake.post(path, bomb, Content_Encoding="gzip").status == 413
    assert intake.post(path, gzip.compress(b"[" + b" " * 9_000_000 + b"]"), Content_Encoding="gzip").status == 413
    assert _raw(intake, path, b"Content-Length: 104857600\r\n", b"[") == 413
    # without a length, 100 MB are not read to their end
    assert _raw(intake, path, b"Transfer-Encoding: chunked\r\n", *_chunks(100)) == 413
    assert {(problem, body) for problem, _, body in sources.rejected(path)} == {("too_large", "")}
    assert _pss(intake) < 400


def test_the_client_of_a_refused_body_reads_why(intake: Intake, sources: Sources) -> None:
    """It sends the whole body before it reads. A connection that is closed too early is reset in four of five cases."""
    path = sources.path()
    large = b"[" + b" " * (MAX_BODY_BYTES + 2_000_000) + b"]"
    for _ in range(6):
        assert intake.post(path, large).status == 413
        assert intake.post(path[:-1] + ("x" if path[-1] != "x" else "y"), large).status == 404
        assert intake.post("/nowhere", large).status == 404


def test_bodies_that_cannot_be_read_are_kept(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    deep = b"[" * 10_000 + b"]" * 10_000
    many = b"[" + b"{}," * 10_000 + b"{}]"
    for body, reason in (
        (b"", "the body is empty"),
        (b"  \n", "the body is empty"),
        (b"nonsense", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b"12", "a JSON number"),
        (b'"text"', "a JSON string"),
        (b"null", "a JSON null"),
        (b'{"a": "\xff\xfe"}', "not UTF-8 at byte 8"),
        (b'{"a": "\0"}', "NUL byte"),
        (deep, "nested deeper than 100 levels"),
        (many, "more than 10000 events"),
        (b"event=open&email=a%40b.example", "not JSON"),
    ):
        response = intake.post(path, body)
        assert response.status == 400, body[:40]
        assert reason in response.body["error"]["details"]["body"][0], response.body
    kept = sources.rejected(path)
    assert len(kept) == 13
    assert ("unreadable_body", "not JSON: invalid input syntax for type json", "nonsense") in kept
    assert {problem for problem, _, _ in kept} == {"unreadable_body", "too_many_events"}
    assert max(len(text) for _, _, text in kept) <= 16 * 1024


def test_forms(intake: Intake, sources: Sources) -> None:
    mandrill, mailgun = sources.path("mandrill"), sources.path("mailgun")
    events = json.dumps([{"event": "send", "marker": "a form of mandrill", "x": "ä&="}])
    assert intake.post(mandrill, urlencode({"mandrill_events": events}).encode(), Content_Type=FORM).status == 200
    assert sources.stored("a form of mandrill") == 1
    for broken in ("[{", "{}", "12", "[" * 10_000 + "]" * 10_000, ""):
        response = intake.post(mandrill, urlencode({"mandrill_events": broken}).encode(), Content_Type=FORM)
        assert response.status == 400, broken
    assert len(sources.rejected(mandrill)) == 5
    assert intake.post(mailgun, b"event=opened&recipient=a%40b.example&x=form-of-mailgun", Content_Type=FORM).status == 200
    content_type = "multipart/form-data; boundary=xyz"
    parts = [("event", "dropped"), ("marker", "multipart of mailgun"), ("recipient", "a@b.example")]
    multipart = "".join(f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts)
    multipart += '--xyz\r\nContent-Disposition: form-data; name="attachment-1"; filename="a.eml"\r\n\r\nFile\r\n--xyz--\r\n'
    assert intake.post(mailgun, multipart.encode(), Content_Type=content_type).status == 200
    assert sources.stored('"marker": "multipart of mailgun"') == 1
    assert intake.post(mailgun, multipart.encode()[:-40], Content_Type="multipart/form-data; boundary=abc").status == 400
    # too many fields
    assert intake.post(mailgun, b"&".join([b"event=x"] * 5000), Content_Type=FORM).status == 400


def test_json_lines(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    lines = b'{"marker": "json-line"}\n\n{"marker": "json-line"}\n'
    assert intake.post(path, lines, Content_Type="application/jsonl; charset=utf-8").status == 200
    assert sources.stored("json-line") == 2
    assert intake.post(path, b"{\n}\n" + lines, Content_Type="application/jsonl").status == 400
    # what can be read is stored
    assert sources.stored("json-line") == 4


def test_the_rate_of_a_source(intake: Intake, sources: Sources) -> None:
    path, other = sources.path(requests_per_minute=2), sources.path(requests_per_minute=2)
    statuses = [intake.post(path, [{"marker": "rate"}]).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = intake.post(path, [])
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert intake.post(other, []).status == 200
    assert sources.stored('"marker": "rate"') == 2


def test_slow_clients_hold_nobody_up(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[".encode()
    slow = [socket.create_connection(("127.0.0.1", intake.port)) for _ in range(60)]
    try:
        for client in slow:
            client.sendall(head)
        assert [intake.post(path, [{"marker": "beside-slow"}]).status for _ in range(20)] == [200] * 20
        assert sources.stored("beside-slow") == 20
    finally:
        for client in slow:
            client.close()


def test_a_body_that_does_not_come_in_time(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_bodies, "SECONDS", 0.1)

    async def post(headers: Mapping[str, str]) -> int:
        client = Client(sources.path(), "POST", headers, [b"["], is_complete=False)
        await client.send(IntakeApp(sources.settings, body_seconds=0.1))
        return client.status

    for headers in ({}, {"content-length": "10"}, {"content-length": "100000"}):
        assert asyncio.run(post(headers)) == 408, headers


def test_a_body_that_is_cut_off_is_not_stored(intake: Intake, sources: Sources) -> None:
    """What came of it may look whole: a form, or JSON of several lines."""
    mailgun = sources.path("mailgun")
    line = b'{"marker": "cut-off"}\n'
    form = b"event=opened&recipient=a%40b.example&marker=cut-off"
    for path, content_type, body in ((sources.path(), "application/jsonl", line), (mailgun, FORM, form)):
        for header, content in (
            (b"Content-Length: 1000\r\n", body),
            (b"Content-Length: 100000\r\n", body),
            (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n" % (len(body), body)),
        ):
            expected = _disconnected(intake) + 1
            with socket.create_connection(("127.0.0.1", intake.port), timeout=60) as client:
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n".encode()
                client.sendall(head + header + b"\r\n" + content)
            wait_until(partial(_is_noticed, intake, expected), f"it is noticed ({header!r})")
    assert sources.stored("cut-off") == 0
    assert sources.rejected(mailgun) == []


def test_a_body_that_is_not_of_http_is_logged_with_its_status(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    assert _raw(intake, path, b"Transfer-Encoding: chunked\r\n", b"2\r\n[]\r\n", b"zz\r\n") == 400
    wait_until(lambda: '"status":400,"outcome":"malformed"' in intake.log.read_text(), "it is logged")


def _disconnected(intake: Intake) -> int:
    return intake.log.read_text().count('"outcome":"disconnected"')


def _is_noticed(intake: Intake, expected: int) -> bool:
    return _disconnected(intake) == expected


def test_a_body_in_chunks_is_stored(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    body = b'[{"marker": "in chunks"}]'
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:9], body[9:])]
    assert _raw(intake, path, b"Transfer-Encoding: chunked\r\n", *chunks, b"0\r\n\r\n") == 200
    assert sources.stored("in chunks") == 1
    # nor is this a websocket
    assert _raw(intake, path, b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", b"[]") == 200


def test_why_the_last_body_was_rejected_is_kept(intake: Intake, sources: Sources) -> None:
    path = sources.path()
    assert intake.post(path, [{"marker": "counted-by-day"}]).status == 200
    assert intake.post(path, b"nonsense").status == 400
    assert intake.post(path, b"\xff").status == 400
    _wait_for_counts(sources, path, (1, 2, 0))
    with connect(sources.settings, "mailmart_owner") as connection:
        row = connection.execute(
            "select last_rejection from app.webhook_sources where source_id = %s", (source_id(path),)
        ).fetchone()
    assert row == ("not UTF-8 at byte 1",)


def test_no_token_is_in_the_log_and_no_tenant_in_it(intake: Intake, sources: Sources) -> None:
    path = sources.path("mandrill", signing_keys=["key-of-mandrill"])
    token = path.rpartition("/")[2]
    intake.post(path, b"mandrill_events=%5B%5D", Content_Type=FORM, X_Mandrill_Signature="x")
    intake.post(path, b"nonsense")
    # lines are written by a thread
    wait_until(lambda: intake.log.read_text().count(f'"webhook_source":"{source_id(path)}"') == 2, "both are in the log")
    log = intake.log.read_text()
    assert token not in log
    assert token.partition("_")[2] not in log
    assert WORKSPACE not in log


def _wait_for_counts(sources: Sources, path: str, expected: tuple[int, int, int]) -> None:
    deadline = time.monotonic() + 90
    while True:
        with connect(sources.settings, "mailmart_owner") as connection:
            row = connection.execute(
                "select bodies, rejected, signature_failures from app.webhook_sources where source_id = %s", (source_id(path),)
            ).fetchone()
            # two days, if this is run at midnight
            by_day = connection.execute(
                "select sum(bodies), sum(rejected), sum(signature_failures) from app.webhook_source_days where source_id = %s",
                (source_id(path),),
            ).fetchone()
        if row == expected:
            assert by_day == expected
            return
        assert time.monotonic() < deadline, row
        time.sleep(0.1)


def _chunks(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes * 16):
        yield b"10000\r\n" + b" " * 65536 + b"\r\n"


def _raw(intake: Intake, path: str, header: bytes, *pieces: bytes) -> int:
    """The status of a request whose body is sent piece by piece, until the intake answers."""
    with socket.create_connection(("127.0.0.1", intake.port), timeout=60) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode() + header + b"\r\n")
        try:
            for piece in pieces:
                client.sendall(piece)
        except OSError:
            # it has answered, and closed the connection
            pass
        response = http.client.HTTPResponse(client)
        response.begin()
        return response.status


def _pss(intake: Intake) -> float:
    """Megabytes of memory of the intake's largest process."""
    sizes = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            command_line = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if str(intake.port).encode() in command_line:
            sizes.append(int(text.split("VmRSS:")[1].split()[0]) / 1024)
    return max(sizes)
