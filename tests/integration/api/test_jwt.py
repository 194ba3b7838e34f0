"""JSON Web Tokens: which are accepted, and which are rejected."""

from __future__ import annotations

import dataclasses
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cachetools import TLRUCache
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from werkzeug.test import Client

from api.auth.jwt import JwtVerifier
from api.errors import SettingsError
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.support.waiting import wait_until

SECRET = "a secret for tests, with more than 32 bytes"
PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


@pytest.fixture(scope="module")
def rsa() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def public_pem(key: RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**more: Any) -> dict[str, Any]:
    return {"workspace_id": WORKSPACE, "exp": time.time() + 60, **more}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Without a database: to verify a token needs none."""
    return Settings(database_url=None, redis_url=None, home=tmp_path)


@pytest.fixture
def hs256(settings: Settings) -> JwtVerifier:
    return JwtVerifier(
        dataclasses.replace(settings, jwt_secret=SECRET, jwt_issuer="https://platform.test", jwt_audience="mailmart")
    )


def signed_with_hmac(secret: str) -> str:
    """A token that PyJWT itself refuses to make, because the secret is a public key."""
    header, payload = (jwt.utils.base64url_encode(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims()))
    signature = hmac.digest(secret.encode(), header + b"." + payload, "sha256")
    return b".".join((header, payload, jwt.utils.base64url_encode(signature))).decode()


def signed(secret: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    payload = {"iss": "https://platform.test", "aud": ["other", "mailmart"], **claims(), **changed}
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, secret, algorithm)


def test_token_is_valid_for_its_workspace_only(warehouse_settings: Settings) -> None:
    service = WsgiApp(dataclasses.replace(warehouse_settings, jwt_secret=SECRET))
    try:
        token = jwt.encode(claims(), SECRET, "HS256")
        for _ in range(2):
            assert Caller(Client(service), token).get(PATH).get_json()["data"]["summary"]["emails_sent"] == 5000
        assert Caller(Client(service), token).get(f"{OTHER_WORKSPACE}/analytics/overview").status_code == 403
        assert Caller(Client(service), jwt.encode(claims(scope="export"), SECRET, "HS256")).get(PATH).status_code == 403
        assert Caller(Client(service), token[:-3]).get(PATH).status_code == 401
        assert "JWT" in Client(service).get(f"/api/v1/workspaces/{PATH}").get_json()["error"]["message"]
    finally:
        service.close()


def test_without_a_configured_key_every_token_is_rejected(settings: Settings) -> None:
    assert JwtVerifier(settings).verify(signed()) is None


def test_scopes_are_a_string_or_a_list(hs256: JwtVerifier) -> None:
    principal = hs256.verify(signed(scope="read export unknown"))
    assert principal is not None
    assert (principal.workspace_id, principal.scopes) == (WORKSPACE, frozenset({"read", "export"}))
    listed = hs256.verify(signed(scope=["reports"]))
    assert listed is not None
    assert listed.scopes == {"reports"}


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": None},
        {"exp": 1},
        {"exp": "soon"},
        {"exp": "4102444800"},
        {"exp": True},
        {"exp": [4102444800]},
        {"exp": 1e308},
        {"exp": 10**400},
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
def test_invalid_claims_are_rejected(hs256: JwtVerifier, changed: dict[str, Any]) -> None:
    principal = hs256.verify(signed(**changed))
    # an expiry beyond every calendar may be accepted or rejected, but must not fail
    assert principal is None or changed == {"exp": 1e308}


@pytest.mark.parametrize("token", ["", "a.b.c", "....", "x" * 100_000, "\udcff.a.b", "e30.e30.", "{}", "é.é.é"])
def test_malformed_tokens_are_rejected(hs256: JwtVerifier, token: str) -> None:
    assert hs256.verify(token) is None


def test_algorithm_is_fixed_by_the_configured_key(settings: Settings, rsa: RSAPrivateKey) -> None:
    pem = public_pem(rsa)
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_public_key=pem))
    private = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert tokens.verify(jwt.encode(claims(), private, "RS256")) is not None
    assert tokens.verify(jwt.encode(claims(), private, "PS256")) is None
    assert tokens.verify(jwt.encode(claims(), "", "none")) is None
    # the classic attack: the public key used as an HMAC secret
    assert tokens.verify(signed_with_hmac(pem)) is None
    assert (
        JwtVerifier(dataclasses.replace(settings, jwt_secret=SECRET)).verify(signed("another secret of more than 32 bytes!"))
        is None
    )


def test_cached_token_expires_on_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.jwt.CACHE_TTL_SECONDS", 60.0)
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_secret=SECRET))
    token = jwt.encode(claims(exp=time.time() + 2), SECRET, "HS256")
    assert tokens.verify(token) is not None
    time.sleep(2.2)
    assert tokens.verify(token) is None


def test_token_may_expire_during_a_cache_lookup(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # cachetools' get() checks `in` first, and raises KeyError if the entry expires right after that
    monkeypatch.setattr(TLRUCache, "__contains__", lambda cache, key: True)
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_secret=SECRET))
    assert tokens.verify(jwt.encode(claims(), SECRET, "HS256")) is not None


@dataclasses.dataclass
class Jwks:
    """A JWKS server: the keys that it returns, and the number of its requests."""

    url: str
    keys: list[dict[str, Any]]
    requests: int = 0
    broken: bytes = b""
    gate: threading.Event = dataclasses.field(default_factory=threading.Event)


@pytest.fixture
def jwks() -> Iterator[Jwks]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            if state.broken:
                self.wfile.write(state.broken)
                # a server that sends the rest some time
                state.gate.wait(30)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": state.keys}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Jwks(f"http://127.0.0.1:{server.server_port}/keys", [])
    state.gate.set()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield state
    state.gate.set()
    server.shutdown()
    server.server_close()


def jwk(key: RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": "RS256"}


def test_jwks_is_fetched_and_refetched_within_bounds(
    settings: Settings, jwks: Jwks, rsa: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def token(key: RSAPrivateKey, kid: str) -> str:
        return jwt.encode(claims(), key, "RS256", headers={"kid": kid})

    jwks.keys = [jwk(rsa, "one")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.verify(token(rsa, "one")) is not None
    requests = jwks.requests
    # unknown key ids do not cause more requests
    assert all(tokens.verify(token(rsa, f"no{number}")) is None for number in range(50))
    assert tokens.verify(token(rsa, "one")) is not None
    assert jwks.requests == requests == 1
    # a rotated key is found after the interval; while the server fails, the last keys stay valid
    other = generate_private_key(65537, 2048)
    jwks.keys = [jwk(other, "two")]
    assert tokens.verify(token(other, "two")) is None
    monkeypatch.setattr("api.auth.jwks.MIN_FETCH_INTERVAL_SECONDS", 0.0)
    later = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert later.verify(token(other, "two")) is not None
    assert later.verify(token(rsa, "one")) is None
    jwks.broken = b"HTTP/1.0 500 No\r\n\r\n"
    assert later.verify(token(other, "two")) is not None
    assert later.verify(token(other, "three")) is None


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.0 500 No\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n[1]",
        b'HTTP/1.0 200 OK\r\n\r\n{"keys": "\xff"}',
        b'HTTP/1.0 200 OK\r\nContent-Length: 900\r\n\r\n{"keys":',
        b"not HTTP\r\n\r\n",
        b"\r\n",
    ],
)
def test_last_keys_stay_valid_whatever_the_jwks_server_returns(
    settings: Settings, jwks: Jwks, rsa: RSAPrivateKey, broken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.auth.jwks.MIN_FETCH_INTERVAL_SECONDS", 0.0)
    known, unknown = (jwt.encode(claims(), rsa, "RS256", headers={"kid": kid}) for kid in ("one", "no"))
    jwks.keys = [jwk(rsa, "one")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.verify(known) is not None
    jwks.broken = broken
    # an unknown key id causes a request
    assert tokens.verify(unknown) is None
    assert tokens.verify(known) is not None
    never = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert never.verify(known) is None


def test_known_keys_do_not_wait_for_a_jwks_server_that_hangs(settings: Settings, jwks: Jwks, rsa: RSAPrivateKey) -> None:
    jwks.keys = [jwk(rsa, "one")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    known, another, unknown = (
        jwt.encode(claims(jti=kid), rsa, "RS256", headers={"kid": kid.partition(" ")[0]}) for kid in ("one", "one again", "no")
    )
    assert tokens.verify(known) is not None
    jwks.gate.clear()
    jwks.broken = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.auth.jwks.MIN_FETCH_INTERVAL_SECONDS", 0.0)
        waiting = threading.Thread(target=tokens.verify, args=(unknown,))
        waiting.start()
        wait_until(lambda: jwks.requests == 2, "somebody with an unknown key makes it fetch")
        # the response is still incomplete, and this one is of a key that is known
        assert tokens.verify(another) is not None
        assert waiting.is_alive()
        jwks.gate.set()
        waiting.join()


def test_a_withdrawn_key_is_refused_after_its_time(
    settings: Settings, jwks: Jwks, rsa: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MIN_FETCH_INTERVAL_SECONDS", "REFRESH_SECONDS", "TTL_SECONDS"):
        monkeypatch.setattr(f"api.auth.jwks.{name}", 0.0)
    jwks.keys = [jwk(rsa, "one")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    first, second, third = (jwt.encode(claims(jti=name), rsa, "RS256", headers={"kid": "one"}) for name in "abc")
    assert tokens.verify(first) is not None
    # as long as nobody says that it was withdrawn
    jwks.broken = b"HTTP/1.0 500 No\r\n\r\n"
    assert tokens.verify(second) is not None
    jwks.keys, jwks.broken = [jwk(generate_private_key(65537, 2048), "two")], b""
    tokens.verify(jwt.encode(claims(), rsa, "RS256", headers={"kid": "no"}))
    assert tokens.verify(third) is None


def test_short_rsa_key_in_the_jwks_is_rejected(settings: Settings, jwks: Jwks) -> None:
    short = generate_private_key(65537, 1024)  # noqa: S505 - the test needs a short key
    jwks.keys = [jwk(short, "short")]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.verify(jwt.encode(claims(), short, "RS256", headers={"kid": "short"})) is None


def test_symmetric_key_in_the_jwks_is_rejected(settings: Settings, jwks: Jwks) -> None:
    octets = {"kty": "oct", "kid": "x", "k": jwt.utils.base64url_encode(SECRET.encode()).decode(), "alg": "HS256"}
    jwks.keys = [octets]
    tokens = JwtVerifier(dataclasses.replace(settings, jwt_jwks_url=jwks.url))
    assert tokens.verify(jwt.encode(claims(), SECRET, "HS256", headers={"kid": "x"})) is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MAILMART_JWT_SECRET": "short"}, "less than 32 bytes"),
        ({"MAILMART_JWT_PUBLIC_KEY": "-----BEGIN nothing"}, "not a public key"),
        ({"MAILMART_JWT_PUBLIC_KEY": "/no/such/file"}, "not a file that can be read"),
        ({"MAILMART_JWT_JWKS_URL": "http://platform.test/keys"}, "not https"),
        ({"MAILMART_JWT_JWKS_URL": "platform.test"}, "platform.test"),
        ({"MAILMART_JWT_SECRET": SECRET, "MAILMART_JWT_JWKS_URL": "https://platform.test/keys"}, "set together"),
    ],
)
def test_invalid_settings_are_reported(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        JwtVerifier(Settings.from_environment(environment))


def test_public_key_can_be_a_file(tmp_path: Path, rsa: RSAPrivateKey) -> None:
    (tmp_path / "key.pem").write_text(public_pem(rsa))
    tokens = JwtVerifier(Settings.from_environment({"MAILMART_JWT_PUBLIC_KEY": str(tmp_path / "key.pem")}))
    assert tokens.verify(jwt.encode(claims(), rsa, "RS256")) is not None
    (tmp_path / "small.pem").write_text(public_pem(generate_private_key(65537, 1024)))  # noqa: S505 - the test needs a short key
    with pytest.raises(SettingsError, match="2048"):
        JwtVerifier(Settings.from_environment({"MAILMART_JWT_PUBLIC_KEY": str(tmp_path / "small.pem")}))
