"""Ed25519 signature checking in plain integers, after RFC 8032 5.1: an independent reading of what is signed."""

from __future__ import annotations

import hashlib

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


def _x_of(y: int, sign: int) -> int:
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P:
        raise ValueError("no point of the curve")
    return x if x & 1 == sign else _P - x


def _add(a: Point, b: Point) -> Point:
    # Extended homogeneous coordinates (X, Y, Z, T), x = X / Z, y = Y / Z, x * y = T / Z (RFC 8032 5.1.4).
    p, q = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    r, s = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = q - p, s - r, s + r, q + p
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(n: int, point: Point) -> Point:
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = _add(result, point)
        point, n = _add(point, point), n >> 1
    return result


def _affine(x: int, y: int) -> Point:
    return x, y, 1, x * y % _P


def _point(raw: bytes) -> Point:
    number = int.from_bytes(raw, "little")
    y = number & ((1 << 255) - 1)
    return _affine(_x_of(y, number >> 255), y)


_BASE_Y = 4 * pow(5, -1, _P) % _P
_BASE = _affine(_x_of(_BASE_Y, 0), _BASE_Y)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 64-byte ``signature`` over ``message`` is that of the 32-byte ``public`` key."""
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= _L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    left, right = _times(s, _BASE), _add(_point(signature[:32]), _times(h, _point(public)))
    return (left[0] * right[2] - right[0] * left[2]) % _P == (left[1] * right[2] - right[1] * left[2]) % _P == 0
