"""What a skill does more or less of, the hand, and the whole run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from robomem.corrections.english.amounts import magnitude, merged
from robomem.corrections.english.values import Clause, Mark, amounts, mark, marks, only, things
from robomem.corrections.record import Adjust, Gripper, Resume, Stop

PARAMETERS = {"PULL": "pull", "PUSH": "push", "LIFT": "lift", "LOWER": "lower", "INSERT": "insert"}


def adjust(*parts: Any) -> Clause | None:
    """More or less of what a skill does; None where nothing is compared with what it did."""
    said, amount, about = _compared(marks(parts)), merged(amounts(parts)), things(parts)
    doing, deep = said & set(PARAMETERS), said & {"deeper", "not_deep"}
    less = said & {"less", "too", "as_far", "not_deep"}
    if amount is None or amount.unit == "rad" or amount.value < 0 or amount.bare or len(about) > 1:
        return None
    if len(doing) > 1 or len(deep) > 1 or len(less) > 1 or (less and "deeper" in said):
        return None
    if ("dont" in said) != ("as_far" in said):
        return None
    if not (doing or deep) or not (less or amount.more or said & {"farther", "deeper"}):
        return None
    parameter: Any = PARAMETERS[doing.pop()] if doing else "insert"
    sign: Any = -1 if less else 1
    try:
        op = Adjust(parameter=parameter, sign=sign, magnitude=magnitude(amount))
    except ValidationError:
        return None
    return Clause("skill", "last", (op,), only(about), measure=amount if amount.value else None)


def _compared(said: set[str]) -> set[str]:
    """With "not ... far enough" as "farther"."""
    if "not" not in said:
        return said
    meant = {"enough": "farther", "deep_enough": "deeper"}
    return {meant.get(name, name) for name in said} - {"not"} if said & set(meant) else said | {"less", "deeper"}


def gripper(*parts: Any) -> Clause | None:
    """Opens or closes the hand; None where it is not clear which, or it is a thing that is opened."""
    said, amount, about = marks(parts), merged(amounts(parts)), things(parts)
    if amount is not None and amount.bare and amount.value < 1:
        amount = replace(amount, unit="share")  # "three quarters"
    if "too_wide" in said or ("too_wide_apart" in said and "opens" in said):
        said = said - {"opens", "wider"} | {"narrower"}
    elif "too_narrow" in said:
        said = said - {"closes", "narrower"} | {"wider"}
    if ("not" in said) != ("enough" in said) or ("too_wide_apart" in said and "narrower" not in said):
        return None
    if "not" in said:
        said = said | {"wider"} if "closes" not in said else said | {"narrower"}
    opens, closes = said & {"opens", "releases", "wider"}, said & {"closes", "grips", "narrower"}
    about = about or [part.thing for part in parts if isinstance(part, Mark) and part.thing]
    if bool(opens) == bool(closes) or amount is None or len(about) > 1:
        return None
    if amount.unit == "rad" or amount.value < 0 or amount.bare or (about and not said & {"releases", "grips"}):
        return None
    action: Any = "open" if opens else "close"
    so_far = (amount.value or amount.word or amount.more or said & {"wider", "narrower"}) and "all" not in said
    try:
        op = Gripper(action=action, magnitude=magnitude(amount) if so_far else None)
    except ValidationError:
        return None
    return Clause("skill", "last", (op,), only(about))


def _whole(depends: str, op: Any, alone: bool = False) -> Callable[..., Clause]:
    return lambda *_: Clause("skill", depends, (op,), alone=alone)


MARKS = """go less farther deeper not_deep dont as_far all up_too enough deep_enough not too_wide too_narrow
too_wide_apart opens closes releases grips wider narrower"""
RULES: dict[str, Callable[..., Any]] = {
    "adjust": adjust,
    "doing_it": lambda *parts: Mark(parts[0].kind),
    "too_much": mark("too"),
    "gripper": gripper,
    "lets_go": lambda *parts: Mark("releases", parts[1]),
    "stop": _whole("none", Stop()),
    "wait": _whole("none", Stop(), alone=True),
    "dont_move": lambda _, go: Clause("skill", "none", (Stop(),)) if go.word == "move" else None,
    "resume": _whole("initial", Resume()),
    "restart": _whole("restart", Resume()),
    **{name: mark(name) for name in (*MARKS.split(), "idle", "begins")},
}
