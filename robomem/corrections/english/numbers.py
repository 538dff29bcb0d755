"""Numbers as people say them: "2.5", "twenty five", "one and a half", "three quarters of an"."""

import re
from collections.abc import Callable, Sequence

UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
UNITS += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
PARTS = {"half": 1 / 2, "halves": 1 / 2, "third": 1 / 3, "thirds": 1 / 3, "quarter": 1 / 4, "quarters": 1 / 4}
PARTS |= {
    "eighth": 1 / 8,
    "eighths": 1 / 8,
    "tenth": 1 / 10,
    "tenths": 1 / 10,
    "sixteenth": 1 / 16,
    "sixteenths": 1 / 16,
}
NUMBERS = {word: float(i) for i, word in enumerate(UNITS)} | {word: 20.0 + 10 * i for i, word in enumerate(TENS)}
NUMBERS |= {"couple": 2.0, "dozen": 12.0}
WORDS = frozenset(NUMBERS) | frozenset(PARTS) | {"hundred"}


def read_number(words: Sequence[str], at: int, is_unit: Callable[[int], bool]) -> tuple[float, int]:
    """The number that begins at word `at`, and how many words it takes, 0 where none does.

    "One" and a part of one are numbers only before a unit or a part: `is_unit(i)` says whether word i is one.
    """
    value, end = _whole(words, at)
    if end > at:
        with_part = _and_part(words, end)
        if with_part:
            return value + with_part[0], with_part[1] - at
        if end < len(words) and words[end] in PARTS and (value != 1 or words[end] != "third"):
            share = value * PARTS[words[end]]
            return share, _of(words, end + 1, is_unit) - at
        if value < 1:
            return value, _of(words, end, is_unit) - at
        if words[at] == "one" and end == at + 1 and not is_unit(end):
            return 0.0, 0
        return value, end - at
    part = at + (words[at] in ("a", "an"))
    if part < len(words) and words[part] in PARTS:
        end = _of(words, part + 1, is_unit)
        if is_unit(end) or (end < len(words) and words[end] == "turn"):
            return PARTS[words[part]], end - at
        if words[part + 1 : part + 4] == ["of", "the", "way"]:
            return PARTS[words[part]], part + 1 - at
    return 0.0, 0


def _whole(words: Sequence[str], at: int) -> tuple[float, int]:
    """A number without parts, and the word after it."""
    if re.fullmatch(r"\d*\.?\d+", words[at]):
        return float(words[at]), at + 1
    start = at + (words[at] == "a" and at + 1 < len(words) and words[at + 1] in ("couple", "hundred", "dozen"))
    value, end = 0.0, start
    while end < len(words):
        word = words[end]
        if word == "hundred":
            value = (value or 1.0) * 100
        elif word in NUMBERS and (end == start or (value >= 20 and value % 10 == 0 and NUMBERS[word] < value)):
            value += NUMBERS[word]
        else:
            break
        end += 1
    if end > start and words[end : end + 1] == ["point"] and words[end + 1 : end + 2] and words[end + 1] in UNITS[:10]:
        value, end = value + UNITS.index(words[end + 1]) / 10, end + 2
    if end > start and words[end - 1] == "couple" and words[end : end + 1] == ["of"]:
        end += 1
    return value, (end if end > start else at)


def _and_part(words: Sequence[str], at: int) -> tuple[float, int] | None:
    """ "And a half", and the word after it."""
    if words[at : at + 1] != ["and"]:
        return None
    part = at + 1 + (words[at + 1 : at + 2] == ["a"])
    return (PARTS[words[part]], part + 1) if part < len(words) and words[part] in PARTS else None


def _of(words: Sequence[str], at: int, is_unit: Callable[[int], bool]) -> int:
    """Past "of", "an", "of a", where a unit follows."""
    end = at + (words[at : at + 1] == ["of"])
    end += end < len(words) and words[end] in ("a", "an")
    return end if is_unit(end) or (end < len(words) and words[end] == "turn") else at
