"""Which numbers a type keeps: a whole number exactly or not at all, a fraction as the nearest that there is.

A value that was written as a whole number (an identifier, a time, a count) means something else once it is
rounded, so it is refused; 0.1 as the nearest float32 is what everybody expects.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import DecodeError

_DIGITS: Final = {np.dtype("f2"): 11, np.dtype("f4"): 24, np.dtype("f8"): 53}
"""Binary digits of a floating type: every whole number of so many is exact."""


_WAY_OUT: Final = "; use a wider type or a larger unit, or leave it out"


def _span(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The whole numbers between these are all kept."""
    if dtype.kind == "f":
        return -(1 << _DIGITS[dtype]), 1 << _DIGITS[dtype]
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


_SPANS: Final = {np.dtype(code): _span(np.dtype(code)) for code in ("?", *"bhilqBHILQ", "f2", "f4", "f8")}


def cast(array: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """`array` as `dtype`; raises DecodeError, beginning with `what`, at the first value that `dtype` cannot keep."""
    if array.dtype == dtype:
        return array
    if (reason := unfit(array, dtype)) is not None:
        raise DecodeError(f"{what} {reason}")
    return array.astype(dtype)


def unfit(array: NDArray[Any], dtype: np.dtype[Any]) -> str | None:
    """What is wrong with the first value that `dtype` cannot keep, after "the data ..."; None where it keeps all.

    NaN and infinity stay what they are in floating types, and fit no other.
    """
    if array.dtype.kind not in "biuf":
        return "holds something other than numbers"
    if not array.size or array.dtype == dtype:
        return None
    flat = array.reshape(-1)
    low, high = _SPANS[dtype]
    fractions = array.dtype.kind == "f"
    if fractions and dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = np.isfinite(flat) & ~np.isfinite(flat.astype(dtype))
        return _told(flat, bad, f"which is too large for {dtype.name}")
    if fractions:
        if (at := ~np.isfinite(flat)).any():
            return _told(flat, at, "it must be finite")
        if (at := flat != np.trunc(flat)).any():
            return _told(flat, at, f"which has a fraction, but its type is {dtype.name}")
    # Compared as Python numbers: NumPy would round the limits of 64-bit integers to float64.
    if low <= flat.min().item() and flat.max().item() <= high:
        return None
    if dtype.kind == "f":
        bad = _inexact(flat, dtype)
        return _told(flat, bad, f"which {dtype.name} cannot hold exactly", dtype)
    outside = np.array([not low <= value <= high for value in flat.tolist()])
    return _told(flat, outside, f"which is outside {low}..{high}, the range of {dtype.name}")


def unfit_number(value: float, dtype: np.dtype[Any]) -> str | None:
    """`unfit` of one Python number, quick for those that fit."""
    low, high = _SPANS[dtype]
    if low <= value <= high and (dtype.kind == "f" or isinstance(value, int)):
        return None
    array = np.asarray(value)
    return "has more than 64 bits" if array.dtype.kind == "O" else unfit(array, dtype)


def unfit_decimal(unscaled: int, scale: int, dtype: np.dtype[Any]) -> str | None:
    """What is wrong with `unscaled` / 10**`scale` as a `dtype`; None where rounding that gives the decimal back."""
    value = Fraction(unscaled, 10**scale)
    if dtype.kind != "f":
        if value.denominator != 1:
            return f"is {decimal_text(unscaled, scale)}, which has a fraction, but its type is {dtype.name}"
        return unfit_number(int(value), dtype)
    kept = str(dtype.type(float(value)))
    if kept.lstrip("-") != "inf" and abs(Fraction(kept) - value) * 2 * 10**scale < 1:
        return None
    told = f"cannot hold every digit (it would become {kept}){_WAY_OUT}"
    return f"is {decimal_text(unscaled, scale)}, of which {dtype.name} {told}"


def decimal_text(unscaled: int, scale: int) -> str:
    """A decimal as people write it."""
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    whole, part = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    return f"{'-' * (unscaled < 0)}{whole}{'.' * bool(part)}{part}"


def _inexact(flat: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.bool_]:
    """Which integers lose digits as `dtype`: those with more binary digits between the first and the last 1."""
    size = flat.astype(np.uint64) if flat.dtype.kind == "u" else np.abs(flat.astype(np.int64)).view(np.uint64)
    lowest = np.maximum(size & (~size + np.uint64(1)), np.uint64(1))
    with np.errstate(over="ignore"):
        large = ~np.isfinite(flat.astype(dtype))
    inexact: NDArray[np.bool_] = large | (size // lowest >= np.uint64(1 << _DIGITS[dtype]))
    return inexact


def _told(flat: NDArray[Any], bad: NDArray[np.bool_], why: str, becomes: np.dtype[Any] | None = None) -> str | None:
    found = np.flatnonzero(bad)
    if not len(found):
        return None
    at = int(found[0])
    value = flat[at].item()
    where = f" at position {at}" if flat.size > 1 else ""
    if becomes is not None:
        with np.errstate(over="ignore"):
            kept = float(becomes.type(value))
        why += f" (it would become {int(kept) if np.isfinite(kept) else kept}){_WAY_OUT}"
    return f"is {value}{where}, {why}"
