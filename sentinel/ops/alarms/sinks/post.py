"""One HTTP POST of JSON, with the errors of a sink."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

from sentinel.errors import AlarmError

TIMEOUT_S = 5.0
_SHOWN_BYTES = 200


def post(field: str, url: str, body: bytes, headers: dict[str, str]) -> None:
    """Raises AlarmError for anything but a status of 200 to 299. Redirects are not followed: a secret may be in the body."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        said = answer.read(_SHOWN_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise AlarmError(field, host, "a host that answers", f"it is tried again ({error!r})") from None
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise AlarmError(field, f"HTTP {answer.status} {said!r}", "an answer 2xx", "check address and key")
