"""Signing in with an OpenID Connect provider: the code flow with PKCE, state and nonce.

OpenID Connect Core 1.0, section 3.1, and RFC 7636 (PKCE), RFC 9207 (issuer in the answer).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from catalog.settings import SettingError, Settings
from catalog.users import MemberRole

_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # never `none`, never one with a shared secret
_TIMEOUT_S = 5.0
_KEPT_S = 600.0  # how long what the provider says of itself is believed
_LEEWAY_S = 60  # clocks differ
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class OidcError(RuntimeError):
    """Signing in did not work; the message says at which step."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What the browser keeps between leaving for the provider and coming back."""

    state: str
    nonce: str
    verifier: str
    next: str


@dataclass(frozen=True, slots=True)
class Account:
    """Who the provider says it is. The address is verified by it."""

    subject: str
    email: str
    name: str


class Provider:
    """One provider. Threads may share it."""

    def __init__(
        self, issuer: str, client_id: str, secret: str, domains: tuple[str, ...], role: str
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.domains = domains
        self.role: MemberRole | None = "viewer" if role == "viewer" else "analyst" if role else None
        self._secret = secret
        self._http = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def start(self, redirect_uri: str, then: str) -> tuple[str, Flow]:
        """Where to send the browser, and what it shall keep. Raises OidcError."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        flow = Flow(state, nonce, verifier, then)
        challenge = hashlib.sha256(flow.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"{self._endpoint('authorization_endpoint')}?{urlencode(query)}", flow

    def finish(self, flow: Flow, answer: dict[str, str], redirect_uri: str) -> Account:
        """Whose account it is, of the provider's answer to the browser. Raises OidcError."""
        if not hmac.compare_digest(answer.get("state", "").encode(), flow.state.encode()):
            raise OidcError("the answer belongs to another try; sign in again")
        if "error" in answer:
            raise OidcError(f"the provider says {answer['error'][:100]!r}")
        if answer.get("iss", self.issuer) != self.issuer:
            raise OidcError("the answer is another provider's")
        tokens = self._token(flow, answer.get("code", ""), redirect_uri)
        claims = self._claims(str(tokens.get("id_token", "")), flow.nonce)
        if "email" not in claims:
            claims = self._user_info(str(tokens.get("access_token", "")), claims)
        email, name = claims.get("email"), claims.get("name")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise OidcError("the provider does not say that it has verified the e-mail address")
        return Account(str(claims["sub"]), email, name if isinstance(name, str) else "")

    def _token(self, flow: Flow, code: str, redirect_uri: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": flow.verifier,
        }
        basic = None
        methods = self._metadata().get("token_endpoint_auth_methods_supported")
        if not self._secret:
            form["client_id"] = self.client_id
        elif methods is None or "client_secret_basic" in methods:
            basic = httpx.BasicAuth(self.client_id, self._secret)
        else:
            form |= {"client_id": self.client_id, "client_secret": self._secret}
        return self._ask("POST", self._endpoint("token_endpoint"), data=form, auth=basic)

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """What an id token says, after everything about it was checked (section 3.1.3.7)."""
        try:
            claims = self._decode(token)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise OidcError(f"the provider's id token is no good: {type(error).__name__}") from None
        now, audience = time.time(), claims.get("aud")
        several = isinstance(audience, list)
        wrong = [
            name
            for name, good in (
                ("iss", claims.get("iss") == self.issuer),
                ("sub", isinstance(claims.get("sub"), str) and 0 < len(claims["sub"]) <= 255),
                ("aud", self.client_id in (audience if isinstance(audience, list) else [audience])),
                ("azp", claims.get("azp", self.client_id) == self.client_id),
                ("azp", not several or len(audience or ()) == 1 or "azp" in claims),
                ("exp", _is_time(claims.get("exp")) and now < claims["exp"] + _LEEWAY_S),
                ("iat", _is_time(claims.get("iat")) and claims["iat"] < now + _LEEWAY_S),
                ("nonce", claims.get("nonce") == nonce),
            )
            if not good
        ]
        if wrong:
            raise OidcError(f"the provider's id token is no good: {', '.join(wrong)}")
        return claims

    def _decode(self, token: str) -> dict[str, Any]:
        """Claims of a token with a good signature; keys are fetched anew for one not known."""
        try:
            return dict(jwt.decode(token, self._key_set(), algorithms=_ALGORITHMS).claims)
        except (JoseError, ValueError):
            self._keys = None
            return dict(jwt.decode(token, self._key_set(), algorithms=_ALGORITHMS).claims)

    def _user_info(self, token: str, claims: dict[str, Any]) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {token}"}
        found = self._ask("GET", self._endpoint("userinfo_endpoint"), headers=headers)
        if found.get("sub") != claims["sub"]:
            raise OidcError("the provider speaks of two different people")
        return found

    def _key_set(self) -> KeySet:
        with self._lock:
            if self._keys is None or self._keys[0] < time.monotonic() - _KEPT_S:
                found = self._ask("GET", self._endpoint("jwks_uri"))
                self._keys = time.monotonic(), KeySet.import_key_set(found)  # type: ignore[arg-type]
            return self._keys[1]

    def _endpoint(self, name: str) -> str:
        address = self._metadata().get(name)
        if not isinstance(address, str) or not _is_safe(address):
            raise OidcError(f"the provider's {name} is no https address")
        return address

    def _metadata(self) -> dict[str, Any]:
        known = self._known
        if known is None or known[0] < time.monotonic() - _KEPT_S:
            address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = self._ask("GET", address)
            if found.get("issuer") != self.issuer:
                raise OidcError(
                    f"the provider calls itself {found.get('issuer')!r}, the settings "
                    f"HEADWATER_OIDC_ISSUER={self.issuer!r}"
                )
            known = self._known = time.monotonic(), found
        return known[1]

    def _ask(self, method: str, address: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, address, **more)
            found = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise OidcError(f"the provider does not answer: {type(error).__name__}") from None
        if not isinstance(found, dict):
            path = urlsplit(address).path
            raise OidcError(f"the provider answers {answer.status_code} at {path}")
        return found


def provider_of(settings: Settings) -> Provider | None:
    """The one of the settings. Raises SettingError for half of one."""
    if not settings.oidc_issuer:
        return None
    if not _is_safe(settings.oidc_issuer):
        raise SettingError(
            f"HEADWATER_OIDC_ISSUER={settings.oidc_issuer!r} must be an https address"
        )
    if not settings.oidc_client_id:
        raise SettingError("HEADWATER_OIDC_CLIENT_ID is empty; the provider gives you one")
    if settings.oidc_role not in {"", "viewer", "analyst"}:
        raise SettingError(
            f"HEADWATER_OIDC_ROLE={settings.oidc_role!r} must be viewer, analyst or empty"
        )
    domains = tuple(d.strip().lower() for d in settings.oidc_domains.split(",") if d.strip())
    return Provider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret,
        domains,
        settings.oidc_role,
    )


def _is_safe(address: str) -> bool:
    """https, or a provider on this machine, for trying."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
