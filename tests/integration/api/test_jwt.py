"""JSON Web Tokens: which count, and which do not."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from werkzeug.test import Client

from api.auth.jwt import JwtVerifier
from api.errors import SettingsError
from api.server.app import Service
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

SECRET = "a secret of the tests' own, of more than 32 bytes"
PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


@pytest.fixture(scope="module")
def rsa() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def public_pem(key: RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**more: Any) -> dict[str, Any]:
    return {"workspace_id": WORKSPACE, "exp": time.time() + 60, **more}


@pytest.fixture
def hs256(settings: Settings) -> JwtVerifier:
    return JwtVerifier(
        dataclasses.replace(settings, jwt_secret=SECRET, jwt_issuer="https://platform.test", jwt_audience="mailmart")
    )


def signed(secret: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    given = {"iss": "https://platform.test", "aud": ["other", "mailmart"], **claims(), **changed}
    return jwt.encode({name: value for name, value in given.items() if value is not None}, secret, algorithm)


def test_a_token_opens_its_workspace_and_no_other(warehouse_settings: Settings) -> None:
    service = Service(dataclasses.replace(warehouse_settings, jwt_secret=SECRET))
    try:
        token = jwt.encode(claims(), SECRET, "HS256")
        for _ in range(2):
            assert Caller(Client(service), token).get(PATH).get_json()["data"]["summary"]["emails_sent"] == 5000
        assert Caller(Client(service), token).get(f"{OTHER_WORKSPACE}/analytics/overview").status_code == 403
        assert Caller(Client(service), jwt.encode(claims(scope="export"), SECRET, "HS256")).get(PATH).status_code == 403
        refused = Caller(Client(service), token[:-3]).get(PATH)
        assert refused.status_code == 401
        assert "JWT" in Client(service).get(f"/api/v1/workspaces/{PATH}").get_json()["error"]["message"]
    finally:
        service.close()


def test_without_a_key_of_ours_no_token_counts(settings: Settings) -> None:
    assert JwtVerifier(settings).principal(signed()) is None


def test_what_counts(hs256: JwtVerifier) -> None:
    principal = hs256.principal(signed(scope="read export unheard-of"))
    assert principal is not None
    assert (principal.workspace_id, principal.scopes) == (WORKSPACE, frozenset({"read", "export"}))
    listed = hs256.principal(signed(scope=["reports"]))
    assert listed is not None
    assert listed.scopes == {"reports"}


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": 1e308},
        {"nbf": 4102444800},
        {"iss": None},
        {"iss": "https://elsewhere.test"},
        {"aud": None},
        {"aud": "other"},
        {"workspace_id": None},
        {"workspace_id": ""},
        {"workspace_id": 7},
        {"workspace_id": [WORKSPACE]},
        {"workspace_id": "a\0b"},
    ],
    ids=str,
)
def test_claims_that_do_not_count(hs256: JwtVerifier, changed: dict[str, Any]) -> None:
    found = hs256.principal(signed(**changed))
    # a time beyond every calendar is no expiry: either it is refused, or it is the workspace's
    assert found is None or changed == {"exp": 1e308}


@pytest.mark.parametrize("token", ["", "a.b.c", "....", "x" * 100_000, "\udcff.a.b", "e30.e30.", "{}", "é.é.é"])
def test_what_is_no_token(hs256: JwtVerifier, token: str) -> None:
    assert hs256.principal(token) is None


def test_the_algorithm_is_ours_to_choose(settings: Settings, rsa: RSAPrivateKey) -> None:
    pem = public_pem(rsa)
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_public_key=pem))
    private = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert tokens.principal(jwt.encode(claims(), private, "RS256")) is not None
    assert tokens.principal(jwt.encode(claims(), private, "PS256")) is None
    assert tokens.principal(jwt.encode(claims(), "", "none")) is None
    # the public key is anybody's: signing with it as if it were a secret is the oldest trick
    monkey = jwt.api_jws.PyJWS()
    monkey._algorithms["HS256"].prepare_key = lambda key: key.encode()  # type: ignore[method-assign]
    forged = monkey.encode(json.dumps(claims()).encode(), pem, "HS256")
    assert tokens.principal(forged) is None
    assert (
        JwtVerifier(dataclasses.replace(settings, jwt_secret=SECRET)).principal(signed("another secret of more than 32 bytes!"))
        is None
    )


def test_a_token_that_was_known_ends_with_its_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.jwt.CACHE_TTL_SECONDS", 60.0)
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_secret=SECRET))
    token = jwt.encode(claims(exp=time.time() + 2), SECRET, "HS256")
    assert tokens.principal(token) is not None
    time.sleep(2.2)
    assert tokens.principal(token) is None


@dataclasses.dataclass
class Jwks:
    """A server of keys: what it gives, and how often it was asked."""

    url: str
    keys: list[dict[str, Any]]
    asked: int = 0
    broken: bytes = b""


@pytest.fixture
def jwks() -> Iterator[Jwks]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked += 1
            if found.broken:
                self.wfile.write(found.broken)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": found.keys}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Jwks(f"http://127.0.0.1:{server.server_port}/keys", [])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def published(key: RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": "RS256"}


def test_keys_are_fetched_and_refetched_within_bounds(
    settings: Settings, jwks: Jwks, rsa: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def token(key: RSAPrivateKey, kid: str) -> str:
        return jwt.encode(claims(), key, "RS256", headers={"kid": kid})

    jwks.keys = [published(rsa, "one")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.principal(token(rsa, "one")) is not None
    asked = jwks.asked
    # names of keys that are nowhere do not make us ask again and again
    assert all(tokens.principal(token(rsa, f"no{number}")) is None for number in range(50))
    assert tokens.principal(token(rsa, "one")) is not None
    assert jwks.asked == asked == 1
    # a key that was changed is found once the time is over, and the time before goes on while the server is away
    other = generate_private_key(65537, 2048)
    jwks.keys = [published(other, "two")]
    assert tokens.principal(token(other, "two")) is None
    monkeypatch.setattr("api.auth.jwt.SECONDS_BETWEEN_FETCHES", 0.0)
    later = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert later.principal(token(other, "two")) is not None
    assert later.principal(token(rsa, "one")) is None
    jwks.broken = b"HTTP/1.0 500 No\r\n\r\n"
    assert later.principal(token(other, "two")) is not None
    assert later.principal(token(other, "three")) is None


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.0 500 No\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n[1]",
        b'HTTP/1.0 200 OK\r\n\r\n{"keys": "\xff"}',
        b'HTTP/1.0 200 OK\r\nContent-Length: 900\r\n\r\n{"keys":',
        b"nothing of HTTP\r\n\r\n",
        b"\r\n",
    ],
)
def test_whatever_the_server_of_keys_says_the_last_keys_stay(
    settings: Settings, jwks: Jwks, rsa: RSAPrivateKey, broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.auth.jwt.SECONDS_BETWEEN_FETCHES", 0.0)
    known, unknown = (jwt.encode(claims(), rsa, "RS256", headers={"kid": kid}) for kid in ("one", "no"))
    jwks.keys = [published(rsa, "one")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.principal(known) is not None
    jwks.broken = broken
    # a key that is not there is looked for
    assert tokens.principal(unknown) is None
    assert tokens.principal(known) is not None
    never = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert never.principal(known) is None


def test_a_short_key_among_the_keys_is_not_taken(settings: Settings, jwks: Jwks) -> None:
    short = generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    jwks.keys = [published(short, "short")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.principal(jwt.encode(claims(), short, "RS256", headers={"kid": "short"})) is None


def test_a_secret_among_the_keys_is_not_taken(settings: Settings, jwks: Jwks) -> None:
    octets = {"kty": "oct", "kid": "x", "k": jwt.utils.base64url_encode(SECRET.encode()).decode(), "alg": "HS256"}
    jwks.keys = [octets]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.principal(jwt.encode(claims(), SECRET, "HS256", headers={"kid": "x"})) is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MAILMART_JWT_SECRET": "short"}, "less than 32 bytes"),
        ({"MAILMART_JWT_PUBLIC_KEY": "-----BEGIN nothing"}, "no public key"),
        ({"MAILMART_JWT_PUBLIC_KEY": "/no/such/file"}, "not a file that can be read"),
        ({"MAILMART_JWT_JWKS_URL": "http://platform.test/keys"}, "not https"),
        ({"MAILMART_JWT_JWKS_URL": "platform.test"}, "platform.test"),
        ({"MAILMART_JWT_SECRET": SECRET, "MAILMART_JWT_JWKS_URL": "https://platform.test/keys"}, "set together"),
    ],
)
def test_settings_that_cannot_be_used_say_so(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        JwtVerifier(Settings.from_environment(environment))


def test_a_public_key_can_be_a_file(tmp_path: Path, rsa: RSAPrivateKey) -> None:
    (tmp_path / "key.pem").write_text(public_pem(rsa))
    tokens = JwtVerifier(Settings.from_environment({"MAILMART_JWT_PUBLIC_KEY": str(tmp_path / "key.pem")}))
    assert tokens.principal(jwt.encode(claims(), rsa, "RS256")) is not None
    (tmp_path / "small.pem").write_text(public_pem(generate_private_key(65537, 1024)))  # noqa: S505 - that is the point
    with pytest.raises(SettingsError, match="2048"):
        JwtVerifier(Settings.from_environment({"MAILMART_JWT_PUBLIC_KEY": str(tmp_path / "small.pem")}))
