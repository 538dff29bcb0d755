"""All readings of a sentence by a grammar: a memoised parser that computes meanings as it goes.

Where an Earley parser keeps trees, this keeps what they mean, each meaning once: what is ambiguous in structure alone
costs nothing. Grammars are as Lark writes them, without left recursion: `rule: A b? (C | d)* -> name`; terminals in
upper case, those that begin with "_" have no value; `_rule` stands for its parts, `?rule` too where it is one.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

MOST = 400  # readings of one rule from one word on; more is no speech
TOKEN = re.compile(r"\s*(?:(->)|([?*+|():])|([A-Za-z_]\w*))")
type Expression = tuple[str, Any]
type Found = dict[tuple[int, tuple[Any, ...]], None]  # where it ends and its values; a dict keeps the order


class Word(Protocol):
    """What a grammar reads."""

    @property
    def kind(self) -> str: ...


class TooManyReadings(ValueError):
    """A sentence that could mean very many things."""


class Grammar:
    """Rules, and the functions that make the value of each from its parts' values, None where they do not fit.

    An alternative's function is that of its "-> name", else that of its rule; `?rule` and `_rule` need none.
    """

    def __init__(self, text: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.rules: dict[str, list[tuple[Expression, Callable[..., Any] | None]]] = {}
        for block in re.split(r"\n(?=[?_a-z])", re.sub(r"//[^\n]*", "", text)):
            head, _, body = block.strip().partition(":")
            if body:
                name = head.strip().lstrip("?")
                alternatives = _Reader(body).alternatives()
                self.rules[name] = [
                    (expression, functions[alias or name] if alias or head[0] not in "?_" else None)
                    for expression, alias in alternatives
                ]
        self._first = self._first_kinds()

    def readings(self, words: Sequence[Word], start: str = "start") -> list[Any]:
        """The value of every reading of all `words`, each once. Raises TooManyReadings."""
        found = _Parse(self.rules, self._first, words).rule(start, 0)
        return [values[0] for end, values in found if end == len(words)]

    def _first_kinds(self) -> dict[str, frozenset[str]]:
        """Rule -> kinds that it may begin with; "" where it may be empty."""
        first: dict[str, frozenset[str]] = dict.fromkeys(self.rules, frozenset())
        while True:
            after = {
                name: frozenset().union(*(_first(expression, first) for expression, _ in alternatives))
                for name, alternatives in self.rules.items()
            }
            if after == first:
                return first
            first = after


def _first(expression: Expression, rules: Mapping[str, frozenset[str]]) -> frozenset[str]:
    kind, of = expression
    if kind == "kind":
        return frozenset([of])
    if kind == "rule":
        return rules[of]
    if kind == "either":
        return frozenset().union(*(_first(one, rules) for one in of))
    if kind == "all":
        total: frozenset[str] = frozenset([""])
        for one in of:
            if "" in total:
                total = (total - {""}) | _first(one, rules)
        return total
    return _first(of, rules) | (frozenset() if kind == "+" else frozenset([""]))


class _Reader:
    """Reads the right side of a rule."""

    def __init__(self, text: str) -> None:
        self._tokens = [next(filter(None, found.groups())) for found in TOKEN.finditer(text)]
        self._at = 0

    def alternatives(self) -> list[tuple[Expression, str | None]]:
        found = []
        while self._at < len(self._tokens):
            self._take("|")
            expression = self._all()
            found.append((expression, self._tokens[self._at - 1] if self._take("->", 2) else None))
        return found

    def _take(self, token: str, count: int = 1) -> bool:
        taken = self._at < len(self._tokens) and self._tokens[self._at] == token
        self._at += count * taken
        return taken

    def _all(self) -> Expression:
        parts = []
        while self._at < len(self._tokens) and self._tokens[self._at] not in ("|", ")", "->"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else ("all", tuple(parts))

    def _one(self) -> Expression:
        if self._take("("):
            some = [self._all()]
            while self._take("|"):
                some.append(self._all())
            self._take(")")
            one: Expression = some[0] if len(some) == 1 else ("either", tuple(some))
        else:
            name = self._tokens[self._at]
            self._at += 1
            one = ("kind" if name.isupper() else "rule", name)
        for sign in "?*+":
            if self._take(sign):
                return (sign, one)
        return one


class _Parse:
    """One sentence."""

    def __init__(
        self,
        rules: Mapping[str, list[tuple[Expression, Callable[..., Any] | None]]],
        first: Mapping[str, frozenset[str]],
        words: Sequence[Word],
    ) -> None:
        self._rules, self._first, self._words = rules, first, words
        self._known: dict[tuple[str, int], Found] = {}

    def rule(self, name: str, at: int) -> Found:
        """Readings of a rule from word `at` on."""
        if (name, at) in self._known:
            return self._known[name, at]
        found: Found = {}
        for expression, function in self._rules[name]:
            for end, values in self._match(expression, at):
                if function is None:
                    found[end, values] = None
                elif (value := function(*values)) is not None:
                    found[end, (value,)] = None
        if len(found) > MOST:
            raise TooManyReadings(f"more than {MOST} readings")
        self._known[name, at] = found
        return found

    def _match(self, expression: Expression, at: int) -> Iterable[tuple[int, tuple[Any, ...]]]:
        kind, of = expression
        if kind == "kind":
            if at < len(self._words) and self._words[at].kind == of:
                return [(at + 1, () if of[0] == "_" else (self._words[at],))]
            return []
        if kind == "rule":
            begins = self._first[of]
            if "" in begins or (at < len(self._words) and self._words[at].kind in begins):
                return self.rule(of, at)
            return []
        if kind == "either":
            return dict.fromkeys(found for one in of for found in self._match(one, at))
        if kind == "all":
            found: Found = {(at, ()): None}
            for one in of:
                found = {(after, values + more): None for end, values in found for after, more in self._match(one, end)}
            return found
        return self._repeated(kind, of, at)

    def _repeated(self, sign: str, one: Expression, at: int) -> Found:
        found: Found = {} if sign == "+" else {(at, ()): None}
        newest: Found = {(at, ()): None}
        while newest:
            newest = {
                (after, values + more): None
                for end, values in newest
                for after, more in self._match(one, end)
                if after > end and (after, values + more) not in found
            }
            found |= newest
            if sign == "?":
                return found
            if len(found) > MOST:
                raise TooManyReadings(f"more than {MOST} readings")
        return found
