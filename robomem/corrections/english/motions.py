"""Translations, turns and approaches: a bag of parts in any order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from robomem.corrections.english.amounts import magnitude, measured, merged
from robomem.corrections.english.things import target
from robomem.corrections.english.values import (
    Clause,
    HowMuch,
    Mark,
    Way,
    amounts,
    distinct,
    kinds,
    mark,
    marks,
    only,
    things,
)
from robomem.corrections.english.words import Said
from robomem.corrections.record import Approach, Rotate, Target, Translate

TURNERS = {"TURN": "TURN", "TILT": "TILT", "TIP": "TILT", "ROLL": "ROLL"}
TILTS = {"x": ("y", 1), "y": ("x", -1)}  # what tips forward turns about y, what tips to the left about -x
AXIS_OF_VERB = {"yaw": "z", "pitch": "y", "roll": "x"}
VIEWS = ("user", "base", "object")
Move = tuple[Way, HowMuch]


def motion(*parts: Any) -> Clause | None:
    """What a bag of parts asks for; None where it does not say which way, or more than one."""
    if "REPAIR" in kinds(parts):
        after = max(i for i, part in enumerate(parts) if isinstance(part, Said) and part.kind == "REPAIR")
        return motion(*parts[after + 1 :])
    moves = _seen(_moves(parts), [part for part in parts if isinstance(part, Mark) and part.name in VIEWS])
    enough = {"not", "enough"} & marks(parts)
    if not moves or len(enough) == 1 or (enough and any(amount.word for _, amount in moves)):
        return None
    if any(amount.bare for _, amount in moves):
        return Clause("skill", "last", (), again=lambda like: motion(*measured(parts, like)))
    turners = distinct([*(TURNERS.get(kind) for kind in kinds(parts)), *(way.verb or None for way, _ in moves)])
    about = distinct([*things(parts), *(way.thing for way, _ in moves)])
    if len(turners) > 1 or len(about) > 1:
        return None
    try:
        ops = [_op(way, amount, only(turners)) for way, amount in moves]
    except ValidationError:
        return None
    if None in ops:
        return None
    measure = only([amount for _, amount in reversed(moves) if amount.value])
    return Clause("skill", "last", tuple(ops), only(about), measure=measure)


def _moves(parts: Sequence[Any]) -> list[Move]:
    """Ways with their amounts; nothing where it is not clear which belongs to which."""
    said, how = kinds(parts), amounts(parts)
    ways = _along([part for part in parts if isinstance(part, Way)])
    farther = any(amount.more for amount in how)
    of_it = bool(things(parts)) or "it" in marks(parts)
    said_of = {way.axis for way in ways}
    if of_it and ("drop" in said_of or ("lower" in said_of and farther)):
        return []  # it lets go; it goes lower than it did: adjust
    ways = [replace(way, axis="z") if way.axis in ("lower", "drop") else way for way in ways]
    if "WENT" in said and not all(way.answers for way in ways):
        return []  # "you went left" asks for nothing, "too far left" does
    if "LIFT" in said:
        if ways or farther:
            return []  # likewise
        ways = [Way("z", 1)]
    ways = _told(ways) or _about_verb(parts)
    if len(distinct(ways)) == 1:
        amount = merged(how)
        return [] if amount is None else [(ways[0], amount)]
    order = [part for part in parts if isinstance(part, Way | HowMuch)]
    if len(order) != 2 * len(ways):
        return []
    for first, second in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        pairs = [
            (way, how)
            for way, how in zip(first, second, strict=True)
            if isinstance(way, Way) and isinstance(how, HowMuch)
        ]
        if len(pairs) == len(ways):
            return pairs
    return []


def _along(ways: list[Way]) -> list[Way]:
    """Where an axis is said, ways beside it tell its sign."""
    lines = distinct(way for way in ways if way.along)
    beside = [way for way in ways if not way.along]
    if not lines:
        return [] if any(way.axis == "out" for way in ways) else ways
    fits = ("x", "out") if lines[0].frame == "object" else (lines[0].axis,)
    signs = distinct(way.sign for way in beside)
    if len(lines) > 1 or len(signs) > 1 or any(way.axis not in fits or way.turns for way in beside):
        return []
    return [replace(lines[0], sign=signs[0] if signs else lines[0].sign)]


def _told(ways: list[Way]) -> list[Way]:
    """Without "closer" and "away" beside what they mean."""
    bare = Way("", 1), Way("", -1)
    told = [way for way in ways if way not in bare]
    senses = {way.sign if not way.axis else -way.sign for way in ways if not way.axis or way.frame == "user"}
    return told if told and len(senses) == 1 else ways


def _about_verb(parts: Sequence[Any]) -> list[Way]:
    """ "Yaw +20 degrees": about the verb's own axis."""
    verbs = distinct(part.word for part in parts if isinstance(part, Said) and part.word in AXIS_OF_VERB)
    return [Way(AXIS_OF_VERB[verbs[0]], 1, turns=True)] if len(verbs) == 1 else []


def _seen(moves: list[Move], views: Sequence[Mark]) -> list[Move]:
    """The moves as they are meant from where somebody looks."""
    if not views:
        return moves
    if len(views) > 1 or any(way.frame != "base" for way, _ in moves):
        return []
    view = views[0]
    return [(replace(way, frame=view.name, thing=view.thing or way.thing), amount) for way, amount in moves]


def _op(way: Way, amount: HowMuch, turner: str | None) -> Any:
    """One way as an operation, None where its verb or unit does not go with it."""
    sign: Any = way.sign * (-1 if amount.value < 0 else 1)
    frame: Any = way.frame
    if turner or way.turns or amount.unit == "rad":
        about = _axis_of_turn(way, turner)
        if about is None or amount.unit not in ("", "rad"):
            return None
        turned: Any = sign * about[1]
        return Rotate(axis=about[0], sign=turned, magnitude=magnitude(amount), frame=frame)
    if not way.axis:
        return Approach(sign=sign, magnitude=magnitude(amount))
    along: Any = way.axis
    return Translate(axis=along, sign=sign, magnitude=magnitude(amount), frame=frame)


def _axis_of_turn(way: Way, turner: str | None) -> tuple[Any, int] | None:
    """The axis of a turn, and whether it turns as the way's sign says."""
    if way.turns or way.named:
        return way.axis, 1
    if way.along or not way.axis:
        return None
    if turner == "TILT" or (turner == "ROLL" and way.axis == "y"):
        return TILTS.get(way.axis)
    return ("z", 1) if turner in ("TURN", None) and way.axis == "y" else None


def _way(axis: str, sign: int, frame: str = "base", turns: bool = False) -> Callable[..., Way]:
    return lambda *_: Way(axis, sign, frame, turns=turns)


def _on_axis(sign: int, turns: bool = False, along: bool = False) -> Callable[..., Way]:
    def made(*parts: Any) -> Way:
        return Way(next(part for part in parts if isinstance(part, str)), sign, turns=turns, along=along, named=True)

    return made


def _of_thing(axis: str, sign: int, turns: bool = False, along: bool = False) -> Callable[..., Way]:
    return lambda *parts: Way(axis, sign, "object", _owner(parts), turns, along)


def _toward(sign: int) -> Callable[..., Way]:
    return lambda *parts: Way("", sign, thing=only(things(parts)))


def _owner(parts: Sequence[Any]) -> Target | None:
    """Whose axis it is; "the object" is what is in hand."""
    owner = only(things(parts))
    return None if owner == target("object") else owner


def _too(*parts: Any) -> Way:
    return Way("z", -1 if "HIGH" in kinds(parts) else 1, answers=True)


def _not_enough(*parts: Any) -> Way:
    return Way("z", 1 if "HIGH" in kinds(parts) else -1, answers=True)


def _against(*parts: Any) -> Way:
    way = next(part for part in parts if isinstance(part, Way))
    verb = next((TURNERS[kind] for kind in kinds(parts) if kind in TURNERS), "")
    return replace(way, sign=-way.sign, verb=verb, answers=True)


def _frame(*parts: Any) -> Mark:
    said = kinds(parts)
    if said[:1] == ["AS_USER"]:
        return Mark("user")
    return Mark("base") if said[:1] == ["AS_BASE"] else Mark("object", _owner(parts))


RULES: dict[str, Callable[..., Any]] = {
    "motion": motion,
    "handling": lambda verb, *_: verb,
    "frame": _frame,
    "too": _too,
    "not_enough": _not_enough,
    "against": _against,
    "with": lambda *parts: replace(next(part for part in parts if isinstance(part, Way)), answers=True),
    "up": _way("z", 1),
    "down": _way("z", -1),
    "lower": _way("lower", -1),
    "drop": _way("drop", -1),
    "forward": _way("x", 1),
    "back": _way("x", -1),
    "outward": _way("out", 1),
    "left": _way("y", 1),
    "right": _way("y", -1),
    "my_left": _way("y", 1, "user"),
    "my_right": _way("y", -1, "user"),
    "toward_me": _way("x", -1, "user"),
    "away_from_me": _way("x", 1, "user"),
    "its_left": _of_thing("y", 1),
    "its_right": _of_thing("y", -1),
    "along": _of_thing("x", 1, along=True),
    "around_its": _of_thing("x", 1, turns=True),
    "clockwise": _way("z", -1, turns=True),
    "counter": _way("z", 1, turns=True),
    "axis": lambda *parts: next(part.word[-1] for part in parts if part.kind in "XYZ"),
    "axis_plus": _on_axis(1),
    "axis_minus": _on_axis(-1),
    "axis_alone": _on_axis(1, along=True),
    "around_axis": _on_axis(1, turns=True),
    "toward": _toward(1),
    "away": _toward(-1),
    **{name: mark(name) for name in ("hand", "it", "by", "not", "enough")},
}
