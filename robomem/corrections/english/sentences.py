"""Clauses one after another, and where they hold."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from robomem.corrections.english.values import Clause, Mark, Sentence, distinct, kinds, mark, only, strings, things
from robomem.corrections.english.words import Said
from robomem.corrections.record import (
    Adjust,
    Approach,
    Condition,
    Goto,
    Gripper,
    Prefer,
    ReplaceObject,
    Resume,
    Rotate,
    Roughly,
    Scope,
    Target,
    Translate,
)

PLAIN = Roughly(bin="plain")
WELL = Clause("skill", "last", (Translate(axis="y", sign=-1, magnitude=PLAIN),))  # "right, ..."
STATES = {"CLOSE": "closed", "OPEN": "open", "IN": "in"}


def start(*parts: Any) -> Sentence | None:
    """A sentence, and where it holds."""
    if isinstance(parts[0], Said) and parts[0].kind == "FIRST" and _is_of_things(parts):
        return None  # an order
    sentence: Sentence | None = next(part for part in parts if isinstance(part, Sentence))
    for part in parts:
        if sentence is None:
            return None
        if isinstance(part, Said) and part.kind == "ALWAYS":
            sentence = _holds(sentence, lasting=True)
        elif isinstance(part, Scope):
            sentence = _where(sentence, part)
        elif isinstance(part, Target):
            sentence = _of_things(sentence, part)
    return sentence


def _is_of_things(parts: tuple[Any, ...]) -> bool:
    sentence = next(part for part in parts if isinstance(part, Sentence))
    return isinstance(sentence.clauses[0].ops[0], Prefer | Goto)


def clauses(*parts: Any) -> Sentence | None:
    """Clauses in the order they were said. After a pause the same way again is the same motion; a bare number has the
    unit of the one before."""
    found: list[Clause] = []
    measure = None
    for link, clause in zip([Mark("first"), *parts[1::2]], parts[::2], strict=True):
        if clause.alone and len(parts) > 1:
            return None
        if clause.again is not None:
            clause = clause.again(measure) if measure else None
        if clause is None:
            return None
        measure = clause.measure or measure
        if link.name == "after_that" and clause.depends == "initial" and found == [WELL]:
            return None  # "right then, carry on"
        if link.name == "pause" and clause.depends == "initial" and found == [WELL]:
            found = []  # "right, carry on"
        if clause.repairs and found and found[-1].depends == clause.depends:
            found = found[:-1]  # "left, no, I mean right"
        if link.name != "after_that" and found and found[-1].level == "skill" and clause.level == "plan":
            return None
        if found and isinstance(clause.ops[0], Resume) and clause.ops == found[-1].ops:
            continue
        if link.name in ("also", "pause") and found and _opposite(found[-1], clause):
            return None
        joined = _joined(found[-1], clause) if found and link.name == "pause" else None
        found = [*found[:-1], joined] if joined else [*found, clause]
    return Sentence(tuple(found), Scope(), said=(len(parts) + 1) // 2)


def _joined(one: Clause, other: Clause) -> Clause | None:
    """Two clauses as one that says the same thing twice, or how much after what; None where they are two."""
    about = distinct([one.target, other.target])
    if len(one.ops) != 1 or len(other.ops) != 1 or len(about) > 1:
        return None
    first, second = one.ops[0], other.ops[0]
    if first == second:
        return replace(one, target=only(about))
    if isinstance(first, ReplaceObject) and isinstance(second, ReplaceObject):
        return replace(one, ops=(first if first.wrong else second,))  # "the saucer, not the cup"
    if isinstance(first, Translate) and isinstance(second, Translate) and first.magnitude == PLAIN:
        if first.axis == second.axis and first.sign == second.sign and first.frame == "base":
            return replace(other, target=only(about))  # "left, my left"
        if first.axis == second.axis == "x" and (first.frame, second.frame) == ("object", "base"):
            op = second.model_copy(update={"frame": "object"})  # "along its axis, backwards"
            return replace(other, ops=(op,), target=only(about))
    if isinstance(second, Approach) and other.target is None and _direction(first) == _to_speaker(second.sign):
        second = first.model_copy(update={"magnitude": second.magnitude})  # "towards me, much closer"
    how = distinct(of for op in (first, second) if (of := getattr(op, "magnitude", None)) not in (None, PLAIN))
    if _direction(first) is None or _direction(first) != _direction(second) or len(how) > 1:
        return None
    op = first.model_copy(update={"magnitude": how[0] if how else first.magnitude})
    return replace(one, ops=(op,), target=only(about))


def _direction(op: Any) -> tuple[Any, ...] | None:
    """What two operations have in common that are one motion."""
    if isinstance(op, Translate | Rotate):
        return ("z" if op.axis == "z" and op.kind == "translate" else op.kind, op.axis, op.frame, op.sign)
    if isinstance(op, Adjust) and op.parameter in ("lift", "lower"):
        return "z", "z", "base", op.sign if op.parameter == "lift" else -op.sign
    if isinstance(op, Approach):
        return ("approach", "", "base", op.sign)
    if isinstance(op, Adjust):
        return ("adjust", op.parameter, "base", op.sign)
    return ("gripper", "", "base", 1 if op.action == "open" else -1) if isinstance(op, Gripper) else None


def _to_speaker(sign: int) -> tuple[Any, ...]:
    """The direction of what comes to the speaker, or goes away."""
    return ("translate", "x", "user", -sign)


def _opposite(one: Clause, other: Clause) -> bool:
    """ "Left and right": asks for nothing."""
    first, second = _direction(one.ops[-1]), _direction(other.ops[0])
    return first is not None and second is not None and first == (*second[:3], -second[3])


def _where(sentence: Sentence, scope: Scope) -> Sentence | None:
    """Under a condition; "it" there is what is done something to, "one" here what the condition is about."""
    op = sentence.clauses[0].ops[0]
    told = getattr(op, "step", None)
    if any(condition.target == Target() for condition in scope.context):
        about = (told.place or told.target) if told else sentence.clauses[0].target
        if about is None:
            return None
        context = tuple(condition.model_copy(update={"target": about}) for condition in scope.context)
        scope = scope.model_copy(update={"context": context})
    if scope.context and told and told.place and told.place.attributes and not told.place.noun:
        place = told.place.model_copy(update={"noun": scope.context[0].target.noun})
        op = op.model_copy(update={"step": told.model_copy(update={"place": place})})
        first = replace(sentence.clauses[0], ops=(op, *sentence.clauses[0].ops[1:]))
        sentence = replace(sentence, clauses=(first, *sentence.clauses[1:]))
    more = {name: value for name, value in scope if value != Scope.model_fields[name].default}
    return _holds(sentence, **more)


def _of_things(sentence: Sentence, what: Target) -> Sentence | None:
    if any(isinstance(op, Prefer) for one in sentence.clauses for op in one.ops) or what.part:
        return None
    return _holds(sentence, noun=what.noun, attributes=what.attributes)


def _holds(sentence: Sentence, **more: Any) -> Sentence | None:
    if any(isinstance(op, Goto) for one in sentence.clauses for op in one.ops):
        return None  # "always take the red one": a preference
    return replace(sentence, scope=sentence.scope.model_copy(update=more))


def _described(*parts: Any) -> Condition:
    state = parts[-1] if isinstance(parts[-1], str) else STATES[parts[-1].kind]
    return Condition(target=only(things(parts)) or Target(), state=state)


def _state(lasting: bool) -> Callable[..., Scope]:
    return lambda *parts: Scope(context=(parts[-1],), lasting=lasting)


def _doing(lasting: bool) -> Callable[..., Scope]:
    def made(*parts: Any) -> Scope:
        what = only(things(parts)) or Target()
        update = {"verb": strings(parts)[0], "noun": what.noun, "attributes": what.attributes, "lasting": lasting}
        return Scope().model_copy(update=update)

    return made


RULES: dict[str, Callable[..., Any]] = {
    "start": start,
    "of_things": lambda *parts: parts[-1],
    "clauses": clauses,
    "clause": lambda *parts: replace(parts[-1], repairs="REPAIR" in kinds(parts)),
    "also": mark("also"),
    "after_that": mark("after_that"),
    "pause": mark("pause"),
    "described": _described,
    "state": _state(False),
    "state_lasting": _state(True),
    "doing": _doing(False),
    "doing_lasting": _doing(True),
}
