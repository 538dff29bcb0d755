"""Text to words of known kinds: contractions spelled out, numbers as values, slips of the keyboard mended."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from robomem.corrections.english import numbers

LONGEST = 300  # characters of an utterance: more is no correction
SHORTEST_SLIP = 5  # letters of a word that may hold a letter too many or too few; of two swapped, one letter less
ADJECTIVE = re.compile(r".*[a-z](?:ed|en|ish|less|est)$|^[a-z]{1,2}\d+$")
TOKEN = re.compile(r"[a-z]{1,2}\d+|\d+(?:\.\d+)?|\.\d+|[a-z]+|'s|µm|[°%=+&,-]")
PAUSE = re.compile(r"[;:.!?()…–—]+(?!\d)|-(?!\s*[\d.xyz])|(?<=[a-z]\s)-(?=\s)")  # noqa: RUF001
MEASURES = ("METRE", "CM", "MM", "UM", "INCH", "FOOT", "DEGREE", "RADIAN", "TURNS")
MEASURED = "metre|meter|centimetre|centimeter|cm|millimetre|millimeter|mm|inch|foot|degree"
CONTRACTIONS = {
    r"\blet's\b": "lets",
    r"\bcan't\b|\bcant\b": "cannot",
    r"\bwon't\b|\bwont\b": "will not",
    r"n't\b|(?<=do)nt\b|(?<=mus)tnt\b": " not",
    r"\b(it|that|he|she|there|what|here|this|where|who)'s\b": r"\1 is",
    r"'re\b": " are",
    r"'m\b": " am",
    r"'ll\b": " will",
    r"'d\b": " would",
    r"'ve\b": " have",
    r"\byoure\b": "you are",
    r"\bthats\b": "that is",
    r"\bwanna\b": "want to",
    r"\bgonna\b": "going to",
    r"\bgotta\b": "got to",
    r"([a-z])\1{2,}": r"\1",
    r"\bin the (forward|backward|upward|downward|left|right) direction\b": r"\1",
    rf"\b(an?|one) ({MEASURED}) and a (half|quarter)\b": r"one and a \3 \2",
    r"(?<=\d)(?:\"|'')": " inch ",
    r"(?<=\d)'(?!s)": " foot ",
}
IRREGULAR = {"knives": "knife", "shelves": "shelf", "loaves": "loaf", "leaves": "leaf", "glasses": "glass"}
ALWAYS_PLURAL = ("forceps", "scissors", "pliers", "tweezers", "tongs", "shears", "glass")
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
    words = [_mended(word) for word in _split(text)]
    read: list[Said] = []
    at = 0
    while at < len(words):
        value, taken = numbers.read_number(words, at, lambda i: _is_measure(words, i))
        said, taken = (Said("NUMBER", f"{value:g}", value), taken) if taken else _phrase(words, at)
        at += taken
        if said.kind == "TURN" and said.word == "turn" and read and read[-1].kind == "NUMBER":
            said = Said("TURNS", "turns")  # "a quarter turn"
        if said.kind != "FILLER":
            read.append(said)
    if all(said.kind == "_SEP" for said in read):
        raise ValueError("no word that asks for anything")
    return list(_once(_nouns(_owned(read))))


def singular(noun: str) -> str:
    """A noun as there is one of it."""
    if noun in ALWAYS_PLURAL or noun.endswith("ss"):
        return noun
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if re.search(r"(?:x|ch|sh|s)es$", noun):
        return noun[:-2]
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    return noun[:-1] if noun.endswith("s") and len(noun) > 3 and not noun.endswith(("us", "is")) else noun


def _split(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFKC", text).lower()
    plain = re.sub(r"[’′‘`]", "'", plain).replace("−", "-")  # noqa: RUF001
    plain = re.sub(r"[“”]", '"', plain)
    plain = re.sub(r"(\d+)\s*[⁄/]\s*(\d+)", lambda of: f"{int(of[1]) / max(int(of[2]), 1):g}", plain)  # noqa: RUF001
    for short, long in CONTRACTIONS.items():
        plain = re.sub(short, long, plain)
    plain = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", plain)
    plain = re.sub(r"(?<=\d)(?=[a-z°%])|(?<=[a-z])(?='s\b)", " ", PAUSE.sub(" , ", plain))
    at = 0
    for found in TOKEN.finditer(plain):
        if strange := plain[at : found.start()].strip():
            raise ValueError(f"'{strange[:20]}' is nothing that is said")
        at = found.end()
        yield found[0]
    if strange := plain[at:].strip():
        raise ValueError(f"'{strange[:20]}' is nothing that is said")


@cache
def _known() -> Phrases:
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
    for phrase in _known():
        lengths[phrase[0]] = max(lengths.get(phrase[0], 0), len(phrase))
    return lengths


def _is_measure(words: Sequence[str], at: int) -> bool:
    return at < len(words) and _known().get((words[at],), ("", ""))[0] in MEASURES


def _phrase(words: Sequence[str], at: int) -> tuple[Said, int]:
    """The longest phrase from here on, and how many words it takes."""
    word = words[at]
    if word == ",":
        return Said("_SEP", word), 1
    for length in range(_longest().get(word, 0), 0, -1):
        if phrase := _known().get(tuple(words[at : at + length])):
            return Said(*phrase), length
    of_many = _known().get((singular(word),), ("", ""))
    return (Said(*of_many) if of_many[0] in ("PART", "PLACE") else Said("WORD", word)), 1


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for phrase in _known() for word in phrase) | numbers.WORDS


@cache
def _mended(word: str) -> str:
    """The known word that was meant by a slip: two letters swapped, one left out or typed too much, never the first."""
    known = _vocabulary()
    if len(word) < SHORTEST_SLIP - 1 or word in known or not word.isalpha() or singular(word) in known:
        return word
    english = _english_words()
    if word in english:
        return word  # no slip
    meant = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)} & known
    meant |= {of for of in known if len(of) == len(word) + 1 and of[0] == word[0] and _without_one(of, word)}
    if len(word) == SHORTEST_SLIP - 1:
        meant |= {word[1] + word[0] + word[2:]} & known
    else:
        meant |= {word[:i] + word[i + 1 :] for i in range(1, len(word))} & known
    if len(meant) == 1:
        return meant.pop()
    thing = english.correction(word)
    return word if thing is None or thing in known else str(thing)


@cache
def _english_words() -> Any:
    from spellchecker import SpellChecker  # late: it reads a large list

    return SpellChecker(distance=1)


def _without_one(longer: str, word: str) -> bool:
    return any(longer[:i] + longer[i + 1 :] == word for i in range(1, len(longer)))


def _owned(read: Sequence[Said]) -> list[Said]:
    """Without the "'s" that is "is": nothing follows it that somebody could have."""
    return [
        said
        for said, following in zip(read, [*read[1:], Said("", "")], strict=True)
        if said.kind != "POSS" or following.kind in OWNED
    ]


def _nouns(read: Sequence[Said]) -> Iterator[Said]:
    """Unknown words: one that describes the next is an attribute, the others are things, of which there is one."""
    for said, following in zip(read, [*read[1:], Said("", "")], strict=True):
        if said.word in THINGS_TOO and following.kind not in NAMED:
            yield Said("WORD", said.word)
        elif said.kind == "WORD" and ADJECTIVE.match(said.word) and following.kind in NAMED[:3]:
            yield Said("ATTRIBUTE", said.word)
        elif said.kind == "WORD" and following.kind != "WORD":
            yield Said("WORD", singular(said.word))
        else:
            yield said


def _once(read: Iterable[Said]) -> Iterator[Said]:
    """What is said twice in a row, with nothing or a pause between, is said once; no pause begins or ends."""
    last: Said | None = None
    paused = False
    for said in read:
        if said.kind == "_SEP":
            paused = last is not None
        elif said != last or said.kind in ("NUMBER", "WORD"):
            if paused:
                yield Said("_SEP", ",")
            paused = False
            yield said
            last = said
        else:
            paused = False
