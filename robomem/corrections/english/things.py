"""Things, by their class and looks."""

from collections.abc import Callable, Sequence
from typing import Any

from robomem.corrections.english.values import strings
from robomem.corrections.english.words import Said
from robomem.corrections.record import Target


def target(noun: str, attributes: Sequence[str] = (), part: str | None = None) -> Target:
    """A thing; `noun` "" where only its looks are said."""
    values = {"class": noun or None, "attributes": tuple(sorted(set(attributes))), "part": part}
    return Target.model_validate(values)


def attribute(word: Said) -> str | None:
    return {"close": "closed", "a little": None}.get(word.word, word.word)


def noun(*words: Said) -> str:
    return "" if words[0].kind == "ONE" else " ".join(word.word for word in words)


def thing(*parts: Any) -> Target | None:
    *attributes, name = strings(parts)
    return target(name, attributes) if name or attributes else None


def part_of(*parts: Any) -> Target:
    words = [part.word for part in parts if isinstance(part, Said) and part.kind == "WORD"]
    return target(" ".join(words), strings(parts), parts[-1].word)


def part_of_thing(*parts: Any) -> Target | None:
    part, whole = parts[-3], parts[-1]
    return None if whole.part else whole.model_copy(update={"part": part.word})


def bare_part(*parts: Any) -> Target:
    return target("", strings(parts), parts[-1].word)


def thing_there(*parts: Any) -> Target:
    *attributes, name = strings(parts)
    return target(name, [*attributes, parts[-1].word])


def looks(*parts: Any) -> Any:
    if len(parts) == 1 and isinstance(parts[0], Said):
        return parts[0].word
    return target("", strings(parts))


def other(*parts: Any) -> Target:
    part = next((part.word for part in parts if isinstance(part, Said) and part.kind == "PART"), None)
    *attributes, name = strings(parts)
    return target(name, ["other", *attributes], part)


RULES: dict[str, Callable[..., Any]] = {
    "attribute": attribute,
    "noun": noun,
    "thing": thing,
    "part_of": part_of,
    "part_of_thing": part_of_thing,
    "part": bare_part,
    "part_of_it": lambda *parts: target("", part=parts[-3].word),
    "thing_there": thing_there,
    "looks": looks,
    "other": other,
    "possessor": lambda what, *_: what,
}
