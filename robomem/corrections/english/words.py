"""Text to words of known kinds: contractions spelled out, numbers as values, slips of the keyboard mended."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from robomem.corrections.english import numbers
from robomem.corrections.english.spelling import mended, singular, split

UNASKED = ("SUBJECT", "BE")  # tell who is spoken of, and that something is said to be so
LONGEST = 300  # characters of an utterance: more is no correction
ADJECTIVE = re.compile(r"[a-z]{3,}(?:ed|en|less|est)$|[a-z]{4,}ish$|[a-z]{1,2}\d+$")
MEASURES = ("METRE", "CM", "MM", "UM", "THOU", "INCH", "FOOT", "DEGREE", "RADIAN", "TURNS")
NOUNS_TOO = ("torque", "power", "pressure", "force", "safety")  # limits that begin the name of a thing, a torque wrench
THINGS_TOO = (
    "glass",
    "paper",
    "orange",
    "metal",
    "cardboard",
    "plastic",
    "rubber",
    "steel",
)  # attributes that are things where nothing follows
DONE = ("TURN", "TILT", "ROLL", "INSERT", "PULL", "PUSH", "LIFT")
OWNED = ("LEFT", "RIGHT", "PART", "PLACE", "TIP", "AXIS", "VIEW", "WORD")
NAMED = ("WORD", "PART", "ONE", "ATTRIBUTE")
type Phrases = Mapping[tuple[str, ...], tuple[str, str]]  # words -> kind, and the word that is meant


@dataclass(frozen=True)
class Said:
    """One word or phrase: its kind, the word that is meant, and for a number its value."""

    kind: str
    word: str
    value: float = 0.0


def words_of(text: str) -> list[Said]:
    """The words of `text`, fillers left out, what is said twice said once. Raises ValueError for what is no speech:
    too long, or signs that nobody says."""
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters, expected at most {LONGEST}")
    words = [mended(word, _parts_of_phrases()) for word in split(text)]
    read: list[Said] = []
    at = 0
    while at < len(words):
        value, taken = numbers.read_number(words, at, lambda i: _is_measure(words, i))
        said, taken = (Said("NUMBER", f"{value:g}", value), taken) if taken else _phrase(words, at)
        at += taken
        if said.kind == "TURN" and said.word == "turn" and read and read[-1].kind == "NUMBER":
            said = Said("TURNS", "turns")  # "a quarter turn"
        if said.kind == "BECAUSE":
            read += [Said("_SEP", ","), Said("SUBJECT", "because")]
        elif said.kind != "FILLER":
            read.append(said)
    if all(said.kind == "_SEP" for said in read):
        raise ValueError("no word that asks for anything")
    return paused_once(_once(_nouns(_owned(read))))


@cache
def vocabulary() -> Phrases:
    """The phrases of words.yaml."""
    text = resources.files("robomem.corrections.english").joinpath("words.yaml").read_text(encoding="utf-8")
    phrases: dict[tuple[str, ...], tuple[str, str]] = {}
    for kind, groups in yaml.load(text, Loader=yaml.BaseLoader).items():
        for group in groups.split(";"):
            forms = [form.strip() for form in group.split(",") if form.strip()]
            phrases |= {tuple(form.split()): (kind, forms[0]) for form in forms}
    return phrases


@cache
def _longest() -> Mapping[str, int]:
    """First word -> how long the longest phrase is that begins with it."""
    lengths: dict[str, int] = {}
    for phrase in vocabulary():
        lengths[phrase[0]] = max(lengths.get(phrase[0], 0), len(phrase))
    return lengths


def _is_measure(words: Sequence[str], at: int) -> bool:
    return at < len(words) and vocabulary().get((words[at],), ("", ""))[0] in MEASURES


def _phrase(words: Sequence[str], at: int) -> tuple[Said, int]:
    """The longest phrase from here on, and how many words it takes."""
    word = words[at]
    if word == ",":
        return Said("_SEP", word), 1
    for length in range(_longest().get(word, 0), 0, -1):
        if phrase := vocabulary().get(tuple(words[at : at + length])):
            return Said(*phrase), length
    of_many = vocabulary().get((singular(word),), ("", ""))
    return (Said(*of_many) if of_many[0] in ("PART", "PLACE") else Said("WORD", word)), 1


@cache
def _parts_of_phrases() -> frozenset[str]:
    return frozenset(word for phrase in vocabulary() for word in phrase) | numbers.WORDS


def _owned(read: Sequence[Said]) -> list[Said]:
    """The "'s" that is "is", as such: nothing follows it that somebody could have. "Over turned" is turned too far."""
    found = []
    for said, following in zip(read, [*read[1:], Said("", "")], strict=True):
        if said.kind == "OVER" and following.kind in DONE:
            found.append(Said("OVERSHOT", said.word))
        elif said.kind == "POSS" and following.kind not in OWNED:
            found.append(Said("BE", said.word))
        elif said.kind != "OVER":
            found.append(said)
    return found


def _nouns(read: Sequence[Said]) -> Iterator[Said]:
    """Unknown words: one that describes the next is an attribute, the others are things, of which there is one."""
    for said, following in zip(read, [*read[1:], Said("", "")], strict=True):
        if (said.word in THINGS_TOO and following.kind not in NAMED) or (
            said.word in NOUNS_TOO and following.kind == "WORD"
        ):
            yield Said("WORD", said.word)
        elif said.kind == "WORD" and ADJECTIVE.match(said.word) and following.kind in NAMED[:3]:
            yield Said("ATTRIBUTE", said.word)
        elif said.kind == "WORD" and following.kind != "WORD":
            yield Said("WORD", singular(said.word))
        else:
            yield said


def paused_once(read: Iterable[Said]) -> list[Said]:
    """With one pause where there were several, and none at the beginning and the end."""
    kept: list[Said] = []
    for said in read:
        if said.kind != "_SEP" or (kept and kept[-1].kind != "_SEP"):
            kept.append(said)
    return kept[:-1] if kept and kept[-1].kind == "_SEP" else kept


def _once(read: Iterable[Said]) -> Iterator[Said]:
    """What is said twice in a row, with nothing or a pause between, once."""
    last = pause = None
    for said in read:
        if said.kind == "_SEP":
            pause = said
        elif said != last or said.kind in ("NUMBER", "WORD"):
            if pause:
                yield pause
            last, pause = said, None
            yield said
        else:
            pause = None
