"""A parser of all readings, on grammars small enough to count them by hand."""

from dataclasses import dataclass

import pytest

from robomem.corrections.chart import Grammar, TooManyReadings


@dataclass(frozen=True)
class Word:
    kind: str


def words(text: str) -> list[Word]:
    return [Word(kind) for kind in text.split()]


def spelled(*parts: object) -> str:
    return "(" + " ".join(part.kind if isinstance(part, Word) else str(part) for part in parts) + ")"


def test_all_readings_are_found() -> None:
    grammar = Grammar(
        "start: noun (OF noun)*\nnoun: A | A OF A -> pair", {"start": spelled, "noun": spelled, "pair": spelled}
    )
    assert grammar.readings(words("A OF A")) == ["((A) OF (A))", "((A OF A))"]
    assert len(grammar.readings(words("A OF A OF A"))) == 3
    assert grammar.readings(words("A OF")) == []


def test_readings_that_mean_the_same_are_one() -> None:
    grammar = Grammar(
        "start: (A | B)* noun\nnoun: A | A -> other", {"start": lambda *_: "same", "noun": spelled, "other": spelled}
    )
    assert grammar.readings(words("A B A")) == ["same"]


def test_what_does_not_fit_is_no_reading() -> None:
    grammar = Grammar("start: one one\none: A | B", {"start": lambda a, b: None if a == b else a + b, "one": spelled})
    assert grammar.readings(words("A A")) == []
    assert grammar.readings(words("A B")) == ["(A)(B)"]


def test_optional_repeated_and_silent_parts() -> None:
    grammar = Grammar("start: A? B+ _END\n// a comment\n", {"start": spelled})
    assert grammar.readings(words("B _END")) == ["(B)"]
    assert grammar.readings(words("A B B B _END")) == ["(A B B B)"]
    assert grammar.readings(words("A _END")) == []


def test_transparent_rules_stand_for_their_parts() -> None:
    grammar = Grammar("start: ?x\nx: A B\n".replace("?x\nx", "x\n?x"), {"start": spelled})
    assert grammar.readings(words("A B")) == ["(A B)"]


def test_a_grammar_that_explodes_is_stopped() -> None:
    grammar = Grammar(
        "start: part*\npart: A | A -> other", {"start": spelled, "part": lambda *_: 1, "other": lambda *_: 2}
    )
    with pytest.raises(TooManyReadings, match="more than 400 readings"):
        grammar.readings(words("A " * 30))


def test_a_rule_without_a_meaning_is_noticed() -> None:
    with pytest.raises(KeyError, match="other"):
        Grammar("start: A -> other", {"start": spelled})
