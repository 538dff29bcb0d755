"""What parts of a sentence mean, before they are put together."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from robomem.corrections.english.words import Said
from robomem.corrections.record import Scope, Target


@dataclass(frozen=True)
class Way:
    """Which way: along an axis, about it where it `turns`, towards a `thing` where there is no axis."""

    axis: str
    sign: int
    frame: str = "base"
    thing: Target | None = None
    turns: bool = False
    along: bool = False  # an axis; "back" and "out" beside it tell its sign
    named: bool = False  # "y": along it, and about it after "turn"
    verb: str = ""  # what was said to turn
    answers: bool = False  # a complaint


@dataclass(frozen=True)
class HowMuch:
    """A value in a unit ("": that of the one before), or a word for it; `more` than before."""

    value: float = 0.0
    unit: str = ""
    word: str = ""
    more: bool = False
    size: float = 1.0  # of the unit that was said

    @property
    def bare(self) -> bool:
        """True for a number without a unit."""
        return self.value != 0 and not self.unit


@dataclass(frozen=True)
class Mark:
    """A part that changes what the others mean."""

    name: str
    thing: Target | None = None


@dataclass(frozen=True)
class Clause:
    """Operations, and what they are about."""

    level: str
    depends: str
    ops: tuple[Any, ...]
    target: Target | None = None
    lasting: bool = False
    measure: HowMuch | None = None  # its last exact amount; a bare number waits for that of the clause before
    again: Callable[[HowMuch], "Clause | None"] | None = None  # with it
    alone: bool = False  # no clause stands beside it
    repairs: bool = False  # takes the place of the one before


@dataclass(frozen=True)
class Sentence:
    """Clauses, and where they hold; `said`: how many there were before some were joined."""

    clauses: tuple[Clause, ...]
    scope: Scope
    said: int


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each once, in order, None left out."""
    found: list[Any] = []
    for value in values:
        if value is not None and value not in found:
            found.append(value)
    return found


def strings(parts: Sequence[Any]) -> list[str]:
    """Attributes and nouns."""
    return [part for part in parts if isinstance(part, str)]


def things(parts: Sequence[Any]) -> list[Target]:
    """Things, each once."""
    return distinct(part for part in parts if isinstance(part, Target))


def kinds(parts: Sequence[Any]) -> list[str]:
    """Kinds of the words among the parts."""
    return [part.kind for part in parts if isinstance(part, Said)]


def marks(parts: Sequence[Any]) -> set[str]:
    """Names of the marks."""
    return {part.name for part in parts if isinstance(part, Mark)}


def amounts(parts: Sequence[Any]) -> list[HowMuch]:
    """Amounts, in order."""
    return [part for part in parts if isinstance(part, HowMuch)]


def only[T](values: Sequence[T]) -> T | None:
    """The first of them, if any."""
    return values[0] if values else None


def mark(name: str) -> Callable[..., Mark]:
    """A rule that is a mark, whatever its parts."""
    return lambda *_: Mark(name)
