"""The ``grpc-timeout`` header: how long the client is willing to wait, counted from when the call arrives."""

from __future__ import annotations

import math

_UNITS = {b"n": 1e-9, b"u": 1e-6, b"m": 1e-3, b"S": 1.0, b"M": 60.0, b"H": 3600.0}
_PER_SECOND = ((b"n", 1_000_000_000), (b"u", 1_000_000), (b"m", 1_000), (b"S", 1))
_LARGEST = 99_999_999  # eight digits


def parse_timeout(value: bytes) -> float:
    """
    Seconds meant by a header such as ``300000m``.

    Raises ValueError unless it is one to eight digits and one of the units H, M, S, m, u, n.
    """
    digits, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not digits.isdigit() or len(digits) > 8:
        text = value.decode("ascii", "replace")
        raise ValueError(f'malformed grpc-timeout "{text}": want at most eight digits and one of H, M, S, m, u, n')
    return int(digits) * _UNITS[unit]


def encode_timeout(seconds: float) -> bytes:
    """
    The header for a timeout, in the finest unit whose number has at most eight digits, rounded up.

    What is over already is sent as ``0n``; what is longer than the format can say becomes its maximum (11,415 years).
    """
    if seconds <= 0:
        return b"0n"
    for unit, per_second in _PER_SECOND:
        if seconds * per_second <= _LARGEST:
            return b"%d%s" % (math.ceil(seconds * per_second), unit)
    for unit, length in ((b"M", 60), (b"H", 3600)):
        if seconds <= _LARGEST * length:
            return b"%d%s" % (math.ceil(seconds / length), unit)
    return b"%dH" % _LARGEST
