"""Asks a server over HTTP, as any client would."""

import base64
import http.client
import json
from collections.abc import Iterable
from typing import Any


def ask(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """The status and the JSON that a request is answered with.

    Args:
        port: Of the server on this machine.
        method: Of HTTP.
        path: With everything behind the host.
        body: Bytes, parts of them, or what is sent as JSON.
        headers: Beside those that every request has.
    """
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    assert response.headers["Content-Type"] == "application/json"
    return response.status, json.loads(content)


def base64_of(contents: Iterable[bytes]) -> list[dict[str, str]]:
    """Bytes as JSON has them."""
    return [{"b64": base64.b64encode(each).decode()} for each in contents]
