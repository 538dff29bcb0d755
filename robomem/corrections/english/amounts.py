"""How much."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import pi
from typing import Any

from robomem.corrections.english.values import HowMuch, distinct, kinds
from robomem.corrections.english.words import Said
from robomem.corrections.record import Amount, Magnitude, Roughly

PER_UNIT = {
    "metres": ("m", 1.0),
    "centimetres": ("m", 0.01),
    "millimetres": ("m", 0.001),
    "micrometres": ("m", 1e-6),
    "thous": ("m", 0.0254e-3),
    "inches": ("m", 0.0254),
    "feet": ("m", 0.3048),
    "degrees": ("rad", pi / 180),
    "radians": ("rad", 1.0),
    "turns": ("rad", 2 * pi),
}
DIGITS = {"m": 6, "rad": 4, "share": 4}


def merged(amounts: Sequence[HowMuch]) -> HowMuch | None:
    """Amounts that are said of one motion as one; None where they contradict each other."""
    values = distinct((amount.value, amount.unit) for amount in amounts if amount.value)
    words = distinct(amount.word for amount in amounts if amount.word)
    if len(values) > 1 or len(words) > 1:
        return None
    more = any(amount.more for amount in amounts)
    if not values:
        return HowMuch(word=next(iter(words), ""), more=more)
    return replace(next(amount for amount in amounts if amount.value), word="", more=more)


def magnitude(amount: HowMuch) -> Magnitude:
    """As the record has it. Raises ValidationError for what no person means."""
    if amount.value:
        unit: Any = amount.unit
        return Amount(value=round(abs(amount.value), DIGITS[unit]), unit=unit)
    word: Any = amount.word or "plain"
    return Roughly(bin=word)


def measured(parts: Sequence[Any], like: HowMuch) -> list[Any]:
    """The parts, with bare numbers in the unit of another amount."""
    return [
        replace(part, value=part.value * like.size, unit=like.unit, size=like.size)
        if isinstance(part, HowMuch) and part.bare
        else part
        for part in parts
    ]


def exact(unit: str, size: float) -> Callable[..., HowMuch]:
    """A number of a unit."""
    return lambda count, *_: replace(count, value=count.value * size, unit=unit, size=size)


def number(*parts: Said) -> HowMuch | None:
    """None for nothing: "0 cm"."""
    sign = -1 if "MINUS" in kinds(parts) else 1
    more = bool({"ANOTHER", "MORE"} & set(kinds(parts)))
    value = next((part.value for part in parts if part.kind == "NUMBER"), 1.0)
    return HowMuch(sign * value, more=more) if value else None


def share(count: HowMuch, of: Said) -> HowMuch:
    return replace(count, value=count.value / (100 if of.kind == "PERCENT" else 1), unit="share")


RULES: dict[str, Callable[..., Any]] = {
    **{name: exact(*of) for name, of in PER_UNIT.items()},
    "number": number,
    "a_turn": lambda *_: HowMuch(2 * pi, "rad", size=2 * pi),
    "bare_number": lambda count: HowMuch(count.value),
    "bare_one": lambda _: HowMuch(1.0),
    "little": lambda *_: HowMuch(word="little"),
    "much": lambda *_: HowMuch(word="much"),
    "more": lambda *_: HowMuch(more=True),
    "share": share,
    "half_way": lambda *_: HowMuch(0.5, "share"),
    "of_amount": lambda *parts: parts[-1],
}
