"""Every reading of a sentence, as a Meaning."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import groupby

from pydantic import ValidationError

from robomem.corrections.chart import Grammar
from robomem.corrections.english import amounts, motions, plans, sentences, skills, things
from robomem.corrections.english.values import Sentence, distinct
from robomem.corrections.english.words import Said
from robomem.corrections.record import Meaning

IDLE = (
    "WORD",
    "IT",
    "THIS",
    "THE",
    "A",
    "MY",
    "YOUR",
    "ME",
    "OF",
    "TO",
    "FOR",
    "WITH",
    "POSS",
    "ATTRIBUTE",
    "FROM",
    "HIT",
    "DIDNOT",
)
PAUSE = Said("_SEP", ",")


def readings_of(words: Sequence[Said]) -> list[Meaning]:
    """The meanings of all readings, each once; of those only that take the most pauses for the end of a clause.

    Where there is none, asides are left out: what a person says between pauses that tells nothing of what to do, "it is
    about to spill". Raises TooManyReadings.
    """
    return _readings_of(words) or _readings_of(_without_asides(words))


def _readings_of(words: Sequence[Said]) -> list[Meaning]:
    read = [(of.said, meaning) for of in _english().readings(words) if (meaning := _meaning(of))]
    most = max((said for said, _ in read), default=0)
    return distinct(meaning for said, meaning in read if said == most)


def _without_asides(words: Sequence[Said]) -> list[Said]:
    """The words between pauses that could tell what to do."""
    kept: list[Said] = []
    for pause, part in groupby(words, key=lambda said: said.kind == "_SEP"):
        said = list(part)
        if not pause and not _is_aside(said):
            kept += [PAUSE, *said] if kept else said
    return kept


def _is_aside(said: Sequence[Said]) -> bool:
    """True for words that neither ask for anything nor name a thing. "It will not fit" does not forbid."""
    words = [of.kind for of in said]
    if not set(words) <= {*IDLE, "DONT"} or words[0] in ("NOT", "DONT") or words[-1] == "DONT":
        return False
    if words[0] == "THE":
        return len(words) > 3 and bool({"DONT", "DIDNOT"} & set(words))
    return len(words) > 2 or "ATTRIBUTE" not in words


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
