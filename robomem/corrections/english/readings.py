"""Every reading of a sentence, as a Meaning."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import chain, groupby

from pydantic import ValidationError

from robomem.corrections.chart import Grammar
from robomem.corrections.english import amounts, motions, plans, sentences, skills, things
from robomem.corrections.english.values import Sentence, distinct
from robomem.corrections.english.words import UNASKED, Said, paused_once
from robomem.corrections.record import Meaning

COULD_ASK = """
AS_USER AS_BASE ME VIEW UP DOWN LOWER HIGH LOW DEEP DEEPER SHALLOWER FORWARD BACK LEFT RIGHT CLOCKWISE COUNTER X Y Z
PLUS MINUS ALONG TOWARD AWAY DISTANCE TOO ENOUGH LITTLE MUCH FAR MORE ANOTHER LESS PERCENT METRE CM MM UM THOU INCH
FOOT DEGREE RADIAN TURNS HALFWAY LIMIT UNSAID IF WHEN WHENEVER ALWAYS NEVER BEFORE AFTER FIRST STOP WAIT RESUME
RESTART MEANT WRONG OTHER INSTEAD INSTEADOF REPAIR NO THEN OVERSHOT UNDERSHOT WIDER NARROW ONLYAFTER ONLYTHEN UNTIL
"""
ASKS = frozenset(COULD_ASK.split())  # kinds of words that could ask for something
TELLERS = ("SUBJECT", "IT", "THIS", "THE", "A", "MY", "YOUR", "WORD", "ATTRIBUTE", "ONE")
SPEAKERS = ("i", "we", "she", "he", "they")
OTHERS = ("she", "he", "they", "because")  # are not asked for anything
PAUSE = Said("_SEP", ",")


def readings_of(words: Sequence[Said]) -> list[Meaning]:
    """The meanings of all readings, each once; of those only that take the most pauses for the end of a clause.

    Where there is none, asides are left out: what a person says between pauses that tells nothing of what to do, "it is
    about to spill". Raises TooManyReadings.
    """
    others = any(said.word in OTHERS for said in words)
    return (not others and _readings_of(words)) or _readings_of(_without_asides(words))


def _readings_of(words: Sequence[Said]) -> list[Meaning]:
    asked = paused_once(said for said in words if said.kind not in UNASKED)
    read = [(of.said, meaning) for of in _english().readings(asked) if (meaning := _meaning(of))]
    most = max((said for said, _ in read), default=0)
    return distinct(meaning for said, meaning in read if said == most)


def _without_asides(words: Sequence[Said]) -> list[Said]:
    """The words between pauses that could tell what to do."""
    kept: list[Said] = []
    told = False
    paused = chain.from_iterable([PAUSE, said] if said.word in SPEAKERS else [said] for said in words)
    for pause, part in groupby(paused, key=lambda said: said.kind == "_SEP"):
        said = list(part)
        if pause:
            continue
        told = _is_aside(said) or (told and said[0].kind == "NOT")  # "it is tea, not poison"
        if not told:
            kept += [PAUSE, *said] if kept else said
    return kept


def _is_aside(said: Sequence[Said]) -> bool:
    """True for what is told, of a thing or of somebody, without a word that could ask for anything; a thing alone is
    none, it may be the one that is meant."""
    words = [of.kind for of in said]
    if said[0].word in OTHERS:
        return True
    if words[0] not in TELLERS or ASKS & set(words):
        return False
    return words[0] == "SUBJECT" or "BE" in words or not _english().readings(said, "named")


@cache
def _english() -> Grammar:
    text = resources.files("robomem.corrections.english").joinpath("grammar.lark").read_text(encoding="utf-8")
    rules = amounts.RULES | things.RULES | motions.RULES | skills.RULES | plans.RULES | sentences.RULES
    return Grammar(text, rules)


def _meaning(of: Sentence) -> Meaning | None:
    """None where the clauses are about different things, or say more than a record holds."""
    about = distinct(clause.target for clause in of.clauses)
    if len(about) > 1:
        return None
    lasting = of.scope.lasting or any(clause.lasting for clause in of.clauses)
    values = {
        "level": of.clauses[0].level,
        "depends": of.clauses[0].depends,
        "ops": [op for clause in of.clauses for op in clause.ops],
        "target": about[0] if about else None,
        "scope": of.scope.model_copy(update={"lasting": lasting}),
    }
    try:
        return Meaning.model_validate(values)
    except ValidationError:
        return None
