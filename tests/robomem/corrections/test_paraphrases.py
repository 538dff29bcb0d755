"""How much of what people say the grammar understands, on sentences that it was tuned on and on others."""

import pytest

from robomem.corrections.grammar import NotUnderstood, parse
from robomem.corrections.record import Meaning
from tests.robomem.corrections.said import read

AT_LEAST = {"dev": 0.88, "held_out": 0.8}


def understood(text: str) -> Meaning | None:
    try:
        return parse(text)
    except NotUnderstood:
        return None


def directions(meaning: Meaning) -> list[tuple[object, ...]]:
    names = ("kind", "axis", "sign", "frame", "action", "parameter")
    return [tuple(getattr(op, name, None) for name in names) for op in meaning.ops]


def rounded(meaning: Meaning | None) -> object:
    """Numbers to a thousandth: people say 10 degrees, the record holds radians."""

    def each(value: object) -> object:
        if isinstance(value, dict):
            return {name: each(of) for name, of in value.items()}
        if isinstance(value, list):
            return [each(of) for of in value]
        return round(value, 3) if isinstance(value, float) else value

    return meaning and each(meaning.model_dump(mode="json"))


@pytest.mark.parametrize("file", ["dev", "held_out"])
def test_most_of_what_people_say_is_understood_exactly(file: str) -> None:
    said = [(text, meaning) for text, meaning in read(file) if meaning is not None]
    exact = [rounded(understood(text)) == rounded(meaning) for text, meaning in said]
    assert len(said) >= 300
    assert sum(exact) / len(exact) >= AT_LEAST[file]


def test_what_is_understood_goes_the_right_way() -> None:
    """On the sentences it was tuned on; a wrong axis or sign is worse than a refusal."""
    wrong = [
        text
        for text, meaning in read("dev")
        if meaning is not None and (said := understood(text)) is not None and directions(said) != directions(meaning)
    ]
    assert not wrong


def test_what_cannot_be_said_in_a_record_is_refused() -> None:
    wrong = [
        text for file in ("dev", "held_out") for text, meaning in read(file) if meaning is None and understood(text)
    ]
    assert not wrong
