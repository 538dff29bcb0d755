"""Which thing, where to, in what order, and what not."""

from collections.abc import Callable, Sequence
from typing import Any

from robomem.corrections.english.things import target
from robomem.corrections.english.values import Clause, Mark, kinds, only, strings, things
from robomem.corrections.english.words import Said
from robomem.corrections.record import Forbid, Goto, Order, Prefer, ReplaceObject, Step, Target

RELATIONS = {"IN": "in", "ON": "on", "UNDER": "under", "BESIDE": "beside", "BEHIND": "behind", "INFRONT": "before"}
RELATIONS |= {"ABOVE": "above"}
FLAT = ("shelf", "rack", "table", "mat", "tray", "hook", "bench", "stand", "counter")  # things are on them, not in them


def plan(op: Any, about: Target | None = None, lasting: bool = False) -> Clause:
    """A clause of the plan, whatever was done before."""
    return Clause("plan", "none", (op,), about, lasting)


def goto(*parts: Any) -> Clause | None:
    """To a thing, or a part of it."""
    about = _by_part(only(things(parts)) or Target(), parts)
    if about is None or about == Target():
        return None
    return Clause("skill" if about.part else "plan", "none", (Goto(),), about)


def _by_part(about: Target, parts: Sequence[Any]) -> Target | None:
    """With the part that it is taken by, if that is said; None where two are."""
    by = next((part.name for part in parts if isinstance(part, Mark) and part.name not in RELATIONS.values()), None)
    if by is None:
        return about
    return None if about.part else about.model_copy(update={"part": by})


def meant(right: Target, wrong: Target | None = None) -> Clause:
    """`right` it is, not `wrong`; what only one of them says of the class holds for both."""
    if wrong is not None:
        if right.noun is None and right.part is None:
            right = right.model_copy(update={"noun": wrong.noun})
        if wrong.noun is None and wrong.part is None:
            wrong = wrong.model_copy(update={"noun": right.noun})
        if wrong.noun == right.noun and not wrong.attributes:
            wrong = None  # only pointed at
    return plan(ReplaceObject(wrong=wrong), right)


def this(*parts: Any) -> Clause | None:
    """It is this one that is meant."""
    said = things(parts)
    if not said:
        return None
    led = next((part.thing for part in parts if isinstance(part, Mark) and part.thing), None)
    right = said[-1]
    if led and not (right.noun or right.part):
        right = right.model_copy(update={"noun": led.noun})
    return meant(right)


def this_not(*parts: Any) -> Clause:
    """This one, not that."""
    said = [part for part in parts if isinstance(part, Target)]
    return meant(said[0], said[1] if len(said) > 1 else None)


def not_this_but(*parts: Any) -> Clause:
    """Not that, this one."""
    said = [part for part in parts if isinstance(part, Target)]
    return meant(said[-1], said[0])


def put(*parts: Any) -> Clause:
    """A thing has its place."""
    how = next(part.name for part in parts if isinstance(part, Mark))
    what, where = things(parts)[0], things(parts)[-1]
    return plan(Prefer(step=Step(verb="put", target=what, relation=how, place=where)), lasting="ALWAYS" in kinds(parts))


def use_for(*parts: Any) -> Clause:
    """A place is for a thing."""
    where, what = things(parts)[0], things(parts)[-1]
    return put(what, Mark("on" if where.noun in FLAT else "in"), where)


def use(*parts: Any) -> Clause:
    """This thing rather than others."""
    return plan(Prefer(step=Step(verb="use", target=things(parts)[0])))


def take_always(*parts: Any) -> Clause | None:
    """A thing is taken so."""
    verb = next(part.word for part in parts if isinstance(part, Said) and part.kind == "TAKE")
    what = _by_part(things(parts)[0], parts)
    return None if what is None else plan(Prefer(step=Step(verb=verb, target=what)), lasting=True)


def step(*parts: Any) -> Step | None:
    """Something done."""
    said = [part for part in parts if isinstance(part, Target)]
    how = next((part.name for part in parts if isinstance(part, Mark) and part.name in RELATIONS.values()), None)
    what = _by_part(said[0], parts)
    if what is None or (how and len(said) < 2):
        return None
    return Step(verb=strings(parts)[0], target=what, relation=how, place=said[1] if how else None)


def _forbid(lasting: bool = False) -> Callable[..., Clause]:
    return lambda *parts: plan(Forbid(step=parts[-1]), lasting=lasting)


def _never_put(*parts: Any) -> Clause:
    put_there = put(*parts).ops[0].step
    return plan(Forbid(step=put_there), lasting=True)


def _touch(*parts: Any) -> Clause:
    return plan(Forbid(step=Step(verb="touch", target=things(parts)[0])))


def _order(reverse: bool = False) -> Callable[..., Clause | None]:
    def made(*parts: Any) -> Clause | None:
        steps = _steps(parts)
        if len(steps) != 2:
            return None
        first, then = reversed(steps) if reverse else steps
        return plan(Order(first=first, then=then))

    return made


def _steps(parts: Sequence[Any]) -> list[Step]:
    """The steps; a thing alone is done what the other is done to."""
    steps = [part for part in parts if isinstance(part, Step)]
    alone = only(things(parts))
    if len(steps) == 1 and alone and steps[0].target is not None:
        what = alone if alone.noun else alone.model_copy(update={"noun": steps[0].target.noun})
        steps.append(steps[0].model_copy(update={"target": what}))
    return steps


def _lead(*parts: Any) -> Mark:
    name = next((name for name in strings(parts) if name), None)
    return Mark("lead", target(name) if name else None)


RULES: dict[str, Callable[..., Any]] = {
    "goto": goto,
    "bypart": lambda *parts: Mark(parts[-1].word),
    "target": lambda what: what,
    "this": this,
    "same": lambda *parts: this(*parts) if len(things(parts)) == 1 else None,
    "this_not": this_not,
    "not_this_but": not_this_but,
    "lead": _lead,
    "put": put,
    "put_on": lambda *parts: put(*parts[:-1], Mark("on"), parts[-1]),
    "use_for": use_for,
    "use": use,
    "take_always": take_always,
    "relation": lambda word: Mark(RELATIONS[word.kind]),
    "step": step,
    "verb": lambda word: word.word,
    "forbid": _forbid(),
    "never": _forbid(lasting=True),
    "never_put": _never_put,
    "forbid_touch": _touch,
    "before": _order(),
    "after": _order(reverse=True),
}
