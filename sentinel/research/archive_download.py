"""Fetch one file over HTTP(S): resumed after an interruption, retried with back-off, checked by SHA-256."""

from __future__ import annotations

import hashlib
import http.client
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sentinel.errors import CaptureError

_CHUNK_BYTES = 256 * 1024
_MAX_RETRY_AFTER_S = 120.0

T = TypeVar("T")


class FileAbsentError(Exception):
    """The server answers 404: there is no such file."""


@dataclass(frozen=True)
class RetryPolicy:
    """``attempts`` without progress, waiting ``first_wait_s`` doubled each time and jittered, before giving up."""

    attempts: int = 5
    first_wait_s: float = 0.5
    timeout_s: float = 30.0

    def wait_s(self, failures: int) -> float:
        """Seconds before the try that follows ``failures`` failures."""
        return min(30.0, self.first_wait_s * 2.0 ** (failures - 1)) * random.uniform(0.75, 1.25)


class _Transient(Exception):
    """Worth another try. ``wait_s`` is what the server asked for, if it did."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _NothingBeyond(Exception):
    """The kept bytes reach the end of the file already."""


def fetch_text(url: str, policy: RetryPolicy) -> str:
    """A small text file. Raises FileAbsentError for 404, CaptureError when it cannot be had."""

    def attempt() -> str:
        with _open(url, policy, offset=0) as response:
            try:
                return bytes(response.read(65_536)).decode("utf-8")
            except UnicodeDecodeError:
                raise CaptureError(url, "bytes that are not UTF-8", "a text file", "check --base-url") from None

    return _retry(url, policy, attempt, progress=lambda: 0)


def download(url: str, part: Path, sha256: str, policy: RetryPolicy, on_bytes: Callable[[int], None]) -> bool:
    """Complete ``part`` and verify it; True if bytes of an earlier, interrupted download were kept.

    Kept bytes may be those of an older version: if they do not lead to ``sha256``, the file is fetched once
    more from the start. A whole download that does not match raises CaptureError and leaves no file behind.
    """
    resumed = _size(part) > 0
    _complete(url, part, policy, on_bytes)
    if resumed and _sha256_of(part) != sha256:
        part.unlink()
        resumed = False
        _complete(url, part, policy, on_bytes)
    actual = _sha256_of(part)
    if actual != sha256:
        part.unlink()
        raise CaptureError(url, f"SHA-256 {actual}", f"SHA-256 {sha256}", "try again later: the archive's copy is damaged")
    return resumed


def _complete(url: str, part: Path, policy: RetryPolicy, on_bytes: Callable[[int], None]) -> None:
    _retry(url, policy, lambda: _append(url, part, policy, on_bytes), progress=lambda: _size(part))


def _append(url: str, part: Path, policy: RetryPolicy, on_bytes: Callable[[int], None]) -> None:
    offset = _size(part)
    try:
        response = _open(url, policy, offset)
    except _NothingBeyond:
        return
    with response:
        if offset and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            offset = 0  # a server without range support answers from the beginning
        length = response.headers.get("Content-Length")
        expected = int(length) if length is not None else None
        received = 0
        with part.open("r+b" if offset else "wb") as file:
            file.seek(offset)
            # read1 hands over what has arrived, so that an interruption keeps it.
            while chunk := response.read1(_CHUNK_BYTES if expected is None else min(_CHUNK_BYTES, expected - received)):
                file.write(chunk)
                received += len(chunk)
                on_bytes(len(chunk))
    if expected is not None and received < expected:
        raise _Transient(f"the connection closed after {received} of {expected} bytes")


def _open(url: str, policy: RetryPolicy, offset: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "sentinel-trading"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=policy.timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
            retry_after = error.headers.get("Retry-After", "")
        if status == http.HTTPStatus.NOT_FOUND:
            raise FileAbsentError(url) from None
        if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            raise _NothingBeyond from None
        if status == http.HTTPStatus.TOO_MANY_REQUESTS or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            asked = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
            raise _Transient(f"HTTP {status}", asked) from None
        raise CaptureError(url, f"HTTP {status}", "HTTP 200 or 206", "check --base-url, the symbol and the dates") from None
    return response


# Not every OSError: a full disk is one too, and no retry helps.
_NETWORK_FAULTS = (_Transient, urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


def _retry(url: str, policy: RetryPolicy, attempt: Callable[[], T], progress: Callable[[], int]) -> T:
    failures, reached = 0, progress()
    while True:
        try:
            return attempt()
        except _NETWORK_FAULTS as error:
            if progress() > reached:
                failures, reached = 0, progress()
            failures += 1
            if failures >= policy.attempts:
                raise CaptureError(
                    url, str(error), "a complete answer", "check the network and run the command again: it resumes"
                ) from None
            asked = error.wait_s if isinstance(error, _Transient) else None
            time.sleep(policy.wait_s(failures) if asked is None else min(asked, _MAX_RETRY_AFTER_S))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
