"""A small OpenID Connect provider that can lie, as a process: `python -m tests.oidc_provider PORT`.

It lets everybody in as Ann and checks what a provider must: the secret, the redirect address and
the PKCE verifier. `POST /lie` with {"lie": "nonce"} makes the next answers wrong in one way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from werkzeug.serving import make_server

CLIENT, SECRET = "headwater", "client secret, never shown"
LIES = (
    *("nonce", "aud", "azp", "iss", "expired", "future", "no_sub", "other_key", "none", "hmac"),
    *("unverified", "verified_text", "userinfo_sub", "answer_iss", "state", "two_audiences"),
)


def create(issuer: str) -> Flask:
    """The provider's app."""
    app = Flask("provider", static_folder=None)
    keys: dict[str, RSAKey | ECKey] = {
        "now": RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
    }
    stranger = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
    codes: dict[str, dict[str, str]] = {}
    lie = {"lie": ""}

    def claims(nonce: str) -> dict[str, Any]:
        now, told = int(time.time()), lie["lie"]
        made: dict[str, Any] = {
            "iss": "https://other.example" if told == "iss" else issuer,
            "sub": "ann-1",
            "aud": "another" if told == "aud" else CLIENT,
            "exp": now - 3600 if told == "expired" else now + 600,
            "iat": now + 3600 if told == "future" else now,
            "nonce": "stale" if told == "nonce" else nonce,
            "email": "Ann@example.org",
            "email_verified": told != "unverified",
            "name": "Ann",
        }
        if told == "verified_text":
            made["email_verified"] = "false"
        if told == "azp":
            made["azp"] = "another"
        if told == "two_audiences":
            made["aud"] = [CLIENT, "another"]
        if told == "no_sub":
            del made["sub"]
        if told in {"userinfo", "userinfo_sub"}:
            for name in ("email", "email_verified", "name"):
                del made[name]
        return made

    def signed(made: dict[str, Any]) -> str:
        told, key = lie["lie"], keys["now"]
        header = {"alg": "RS256", "kid": key.kid}
        body = _plain(json.dumps(made).encode())
        if told == "none":
            return f"{_plain(json.dumps(header | {'alg': 'none'}).encode())}.{body}."
        if told == "hmac":  # with what everybody can know: the public key
            text = f"{_plain(json.dumps(header | {'alg': 'HS256'}).encode())}.{body}"
            return (
                f"{text}.{_plain(hmac.digest(key.as_pem(private=False), text.encode(), 'sha256'))}"
            )
        if isinstance(key, ECKey):
            header["alg"] = "ES256"
        return jwt.encode(header, made, stranger if told == "other_key" else key)

    @app.post("/lie")
    def set_lie() -> Response:
        lie["lie"] = request.get_json()["lie"]
        return jsonify(lie)

    @app.post("/rotate")
    def rotate() -> Response:
        keys["now"] = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "use": "sig"})
        return jsonify(rotated=True)

    @app.get("/.well-known/openid-configuration")
    def metadata() -> Response:
        return jsonify(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/authorize",
            token_endpoint=f"{issuer}/token",
            userinfo_endpoint=f"{issuer}/userinfo",
            jwks_uri=f"{issuer}/jwks",
        )

    @app.get("/jwks")
    def jwks() -> Response:
        return jsonify(KeySet([keys["now"]]).as_dict(private=False))

    @app.get("/authorize")
    def authorize() -> ResponseReturnValue:
        asked = request.args.to_dict()
        if asked["client_id"] != CLIENT or asked["code_challenge_method"] != "S256":
            return "no", 400
        code = secrets.token_urlsafe(16)
        codes[code] = asked
        state = "another" if lie["lie"] == "state" else asked["state"]
        answer = {"code": code, "state": state}
        if lie["lie"] == "answer_iss":
            answer["iss"] = "https://other.example"
        if lie["lie"] == "denied":
            answer = {"error": "access_denied", "state": state}
        return redirect(f"{asked['redirect_uri']}?{urlencode(answer)}")

    @app.post("/token")
    def token() -> ResponseReturnValue:
        given, who = request.form, request.authorization
        asked = codes.pop(given["code"], None)  # a code works once
        if asked is None or who is None or (who.username, who.password) != (CLIENT, SECRET):
            return jsonify(error="invalid_grant"), 400
        challenge = hashlib.sha256(given["code_verifier"].encode()).digest()
        if (
            _plain(challenge) != asked["code_challenge"]
            or given["redirect_uri"] != asked["redirect_uri"]
        ):
            return jsonify(error="invalid_grant"), 400
        found = signed(claims(asked["nonce"]))
        return jsonify(access_token="access", token_type="Bearer", id_token=found)

    @app.get("/userinfo")
    def userinfo() -> ResponseReturnValue:
        if request.headers.get("Authorization") != "Bearer access":
            return jsonify(error="invalid_token"), 401
        sub = "bob-2" if lie["lie"] == "userinfo_sub" else "ann-1"
        return jsonify(sub=sub, email="ann@example.org", email_verified=True, name="Ann")

    return app


def _plain(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


if __name__ == "__main__":
    PORT = int(sys.argv[1])
    make_server(
        "127.0.0.1", PORT, create(f"http://127.0.0.1:{PORT}"), threaded=True
    ).serve_forever()
