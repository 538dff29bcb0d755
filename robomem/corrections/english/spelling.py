"""How words are written: text to plain words, slips of the keyboard mended, nouns in the singular."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

SHORTEST_SLIP = 5  # letters of a word that may hold a letter too many or too few; of two swapped, one letter less
TOKEN = re.compile(r"[a-z]{1,2}\d+|\d+(?:\.\d+)?|\.\d+|[a-z]+|'s|µm|[°%=+&,-]")
PAUSE = re.compile(r"[;:.!?()…–—]+(?!\d)|-(?!\s*[\d.xyz])|(?<=[a-z]\s)-(?=\s)")  # noqa: RUF001
MEASURED = "metre|meter|centimetre|centimeter|cm|millimetre|millimeter|mm|inch|foot|degree"
QUESTION = re.compile(
    r"\s*(?:is|are|was|were|did|does|has|have|am)\b.*\?\s*$|\s*(?:should|shall|may|can|do|did) (?:i|we)\b"
)
CONTRACTIONS = {
    r",? (?:no|right|yeah|ok|okay|eh|innit)\?\s*$": "",
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
    r"\b(?:u+gh+|a+h+|o+h+|e+w+|h+m+|sh+|a+w+|wo+w+|phew|oi|huh|yay)\b": " ",
    r"\bits (?=too|so|not|a bit|way|going|on|in|at)": "it is ",
    r"\bin (?:the )?direction (?:of )?(?:the )?(?=left|right)": "",
    r"\b(?:a )?right angle\b": "90 degrees",
    r"(?<=\d) in\b(?!\s+(?:the|to|front|a|an|my|your|its|x|y|z)\b)": " inch",
    r"\bfrom my side of the \w+": "from my side",
    rf"(?<!would )\blike (?=(?:the|you|on|in|an?) (?!(?:{MEASURED}|bit|little)))": ", because ",
    r"\bin the (forward|backward|upward|downward|left|right) direction\b": r"\1",
    rf"\b(an?|one) ({MEASURED}) and a (half|quarter)\b": r"one and a \3 \2",
    r"(?<=\d)(?:\"|'')": " inch ",
    r"(?<=\d)'(?!s)": " foot ",
}
IRREGULAR = {"knives": "knife", "shelves": "shelf", "loaves": "loaf", "leaves": "leaf", "glasses": "glass"}
AS_IT_IS = re.compile(
    r".*ss|lens|atlas|canvas|thermos|gas|bus|secateurs"
    r"|chess|forceps|scissors|pliers|tweezers|tongs|shears|glass"
)


def singular(noun: str) -> str:
    """A noun as there is one of it."""
    if AS_IT_IS.fullmatch(noun):
        return noun
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if re.search(r"(?:x|ch|sh|ss|zz)es$", noun):
        return noun[:-2]
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    return noun[:-1] if noun.endswith("s") and len(noun) > 3 and not noun.endswith(("us", "is")) else noun


def split(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFKC", text).lower()
    if QUESTION.match(plain):
        raise ValueError("that is a question")
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
def mended(word: str, known: frozenset[str]) -> str:
    """The known word that was meant by a slip: two letters swapped, one left out or typed too much, never the first."""
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
    swapped = thing is not None and sorted(thing) == sorted(word)
    return str(thing) if thing not in (*known, None) and (swapped or len(thing) != len(word)) else word


@cache
def _english_words() -> Any:
    from spellchecker import SpellChecker  # late: it reads a large list

    return SpellChecker(distance=1)


def _without_one(longer: str, word: str) -> bool:
    return any(longer[:i] + longer[i + 1 :] == word for i in range(1, len(longer)))
