"""Powers, their sums, and cosines that are the same float64 everywhere: no platform's library decides about a bit.

ln, exp and every product are rounded to 60 digits, as the decimal arithmetic specification says, and the result once
to float64.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PI: Final = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


@lru_cache(maxsize=4096)
def power(base: float, exponent: float) -> float:
    """base**exponent of a base above 0, rounded once; beyond float64 it is 0 or infinite."""
    return float(_CONTEXT.exp(_CONTEXT.multiply(_CONTEXT.ln(Decimal(base)), Decimal(exponent))))


@lru_cache(maxsize=4096)
def summed_twice(ratio: float, count: int) -> float:
    """The sum of the first k powers of `ratio`, from 0 to 1, over k = 1 .. count: the powers from the 0th on."""
    if ratio in (0, 1):
        return count * (count + 1) / 2 if ratio else float(count)
    context, r, n = _CONTEXT, Decimal(ratio), Decimal(count)
    rest = context.subtract(Decimal(1), r)
    last = context.exp(context.multiply(context.ln(r), n))
    powers = context.divide(context.multiply(r, context.subtract(Decimal(1), last)), rest)
    return float(context.divide(context.subtract(n, powers), rest))


@lru_cache(maxsize=4096)
def cosine(half_turns: Fraction) -> float:
    """cos(pi * half_turns) of half a turn at most, by its Taylor series."""
    context = _CONTEXT
    x = context.multiply(_PI, context.divide(Decimal(half_turns.numerator), Decimal(half_turns.denominator)))
    square, term, total, before, n = context.multiply(x, x), Decimal(1), Decimal(1), Decimal(0), 0
    while total != before:
        n, before = n + 2, total
        term = context.divide(context.multiply(term, square), Decimal(-n * (n - 1)))
        total = context.add(total, term)
    return float(total)
