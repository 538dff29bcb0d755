"""What a person asked to change, as data: one record out of any parser, the same for whoever applies it.

Frames, right-handed, z up. "base": x forward, away from the arm's base, y to the arm's left. "user": the speaker faces
the arm, x away from the speaker, y to the speaker's left. "object": x along the object's long axis, or the way that it
opens, away from what it is fixed to. SI units and radians throughout.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Level = Literal["plan", "skill"]
Depends = Literal["last", "initial", "restart", "none"]
Axis = Literal["x", "y", "z"]
Sign = Literal[1, -1]
FrameName = Literal["base", "object", "user"]
Word = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9 '-]*$")]
FARTHEST = {"m": 2.0, "rad": 6.3, "share": 1.0}  # what a person can mean; limits decide what is done


class _Part(BaseModel):
    """Frozen, compared by value; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Amount(_Part):
    """So much: `value` in `unit`, a share of what is possible say."""

    value: float = Field(gt=0)
    unit: Literal["m", "rad", "share"]

    @model_validator(mode="after")
    def _possible(self) -> "Amount":
        if self.value > FARTHEST[self.unit]:
            raise ValueError(f"{self.value:g} {self.unit}, expected at most {FARTHEST[self.unit]:g}")
        return self


class Roughly(_Part):
    """How much in words: "a bit", nothing said, "a lot". What it comes to depends on the thing's size (resolve.py)."""

    bin: Literal["little", "plain", "much"]


Magnitude = Amount | Roughly


class Target(_Part):
    """A thing by its class and looks, None where it is only pointed at ("it"). `part`: of it, the handle say."""

    noun: Word | None = Field(default=None, alias="class")
    attributes: tuple[Word, ...] = ()  # sorted: colour, size, place, state, "other"
    part: Word | None = None
    id: Word | None = None

    @model_validator(mode="after")
    def _sorted(self) -> "Target":
        if list(self.attributes) != sorted(set(self.attributes)):
            raise ValueError(f"attributes are {self.attributes}, expected them sorted, each once")
        return self


class Step(_Part):
    """Something that is done: `verb` to `target`, there (`relation` and `place`)."""

    verb: Word | None = None
    target: Target | None = None
    relation: Word | None = None
    place: Target | None = None


class Translate(_Part):
    """Along an axis of a frame."""

    kind: Literal["translate"] = "translate"
    axis: Axis
    sign: Sign
    magnitude: Magnitude
    frame: FrameName = "base"


class Rotate(_Part):
    """About an axis of a frame, right-handed: +z turns counter-clockwise seen from above, +y tips the top forward,
    +x tips it to the right."""

    kind: Literal["rotate"] = "rotate"
    axis: Axis
    sign: Sign
    magnitude: Magnitude
    frame: FrameName = "base"


class Approach(_Part):
    """Towards the target, or away from it."""

    kind: Literal["approach"] = "approach"
    sign: Sign
    magnitude: Magnitude


class Adjust(_Part):
    """More or less of what a skill does: it pulls farther, lifts less high."""

    kind: Literal["adjust"] = "adjust"
    parameter: Literal["pull", "push", "lift", "lower", "insert"]
    sign: Sign
    magnitude: Magnitude


class Gripper(_Part):
    """Open or close it, None: all the way."""

    kind: Literal["gripper"] = "gripper"
    action: Literal["open", "close"]
    magnitude: Magnitude | None = None


class Goto(_Part):
    """To the target, or to the part of it that it names."""

    kind: Literal["goto"] = "goto"


class Resume(_Part):
    """Go on: with the first plan, or, when the correction depends on "restart", from its beginning."""

    kind: Literal["resume"] = "resume"


class Stop(_Part):
    """Hold where it is."""

    kind: Literal["stop"] = "stop"


class ReplaceObject(_Part):
    """The target is the thing that is meant, not `wrong`."""

    kind: Literal["replace_object"] = "replace_object"
    wrong: Target | None = None


class Order(_Part):
    """One step before another."""

    kind: Literal["order"] = "order"
    first: Step
    then: Step


class Forbid(_Part):
    """Not this."""

    kind: Literal["forbid"] = "forbid"
    step: Step


class Prefer(_Part):
    """This, where there is a choice."""

    kind: Literal["prefer"] = "prefer"
    step: Step


Op = Annotated[
    Translate | Rotate | Approach | Adjust | Gripper | Goto | Resume | Stop | ReplaceObject | Order | Forbid | Prefer,
    Field(discriminator="kind"),
]


class Condition(_Part):
    """Where a thing is in a state: "the top drawer is full"."""

    target: Target
    state: Word


class Scope(_Part):
    """Where it holds, as far as words say: None and () are "wherever it was said". `lasting`: from now on."""

    verb: Word | None = None
    noun: Word | None = Field(default=None, alias="class")
    attributes: tuple[Word, ...] = ()
    context: tuple[Condition, ...] = ()
    lasting: bool = False


class Meaning(_Part):
    """What words ask for. `depends`: on the "last" motion ("a bit higher"), on the "initial" plan ("now go on"), on a
    "restart", or on "none" of what was done. `target`: what the operations are about, None for what is in hand."""

    level: Level
    depends: Depends
    ops: tuple[Op, ...] = Field(min_length=1, max_length=6)
    target: Target | None = None
    scope: Scope = Scope()


class Provenance(_Part):
    """Who understood it, and where it was said: None where it was said to nobody."""

    parser: Word
    version: int
    episode: str | None = None
    step: int | None = None
    t: float | None = None  # s, on the robot's clock


class Correction(Meaning):
    """A meaning, the words it was told in (or the path it was shown by), and where it comes from."""

    utterance: str = Field(max_length=400)
    provenance: Provenance

    def plain(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def meaning(self) -> Meaning:
        """What was asked for, whoever said it."""
        return Meaning(**{name: getattr(self, name) for name in Meaning.model_fields})
