"""The loop and all that surrounds it, in the hands of a test."""

from collections.abc import Sequence
from typing import Any

from robomem.control.loop import ControlLoop
from robomem.corrections.record import Provenance, Roughly, Translate
from robomem.types import ActionChunk, Context, Correction, Event, Frame, Observation, Start
from tests.robomem.control.joint_arm import DT, HZ, Events, JointArm, Kept

HIGHER = Correction(
    level="skill",
    depends="last",
    ops=(Translate(axis="z", sign=1, magnitude=Roughly(bin="plain")),),
    utterance="higher",
    provenance=Provenance(parser="test", version=1),
)


def constant(t: float, joints: Sequence[float], version: int, ticks: float = 100) -> ActionChunk:
    """A chunk that wants `joints` from `t` on for so many ticks."""
    return ActionChunk([t, t + ticks * DT], [joints, joints], "joint", [0.5, 0.5], version)


class Scripted:
    """An inference whose answers the test puts in `ready`; an exception there is raised."""

    def __init__(self) -> None:
        self.ready: list[ActionChunk | Exception] = []
        self.submitted: list[tuple[Observation, Context]] = []
        self.calls: list[str] = []
        self.seeds: list[int] = []

    def start(self, seed: int) -> None:
        self.calls.append("start")
        self.seeds.append(seed)

    def submit(self, obs: Observation, context: Context) -> None:
        self.calls.append("submit")
        self.submitted.append((obs, context))

    def take(self) -> ActionChunk | None:
        self.calls.append("take")
        answer = self.ready.pop(0) if self.ready else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        self.calls.append("stop")


class Heard:
    """Corrections that answer each text as the test says."""

    def __init__(self, answers: dict[str, Correction | str], recalled: tuple[Correction, ...] = ()) -> None:
        self.answers, self.recalled = answers, recalled
        self.asked: list[tuple[Any, ...]] = []

    def recall(self, instruction: str, obs: Observation) -> Sequence[Correction]:
        self.asked.append(("recall", instruction, obs.t))
        return list(self.recalled)

    def hear(self, text: str, context: Context, obs: Observation) -> Correction | str:
        self.asked.append(("hear", text, context.version, obs.t))
        return self.answers[text]


class Rig:
    """A loop and everything around it."""

    def __init__(self, at: dict[int, list[Event]] | None = None, **options: Any) -> None:
        self.arm, self.inference, self.kept = JointArm(), Scripted(), Kept()
        self.operator = Events(at)
        options = {"max_chunk_age_s": 10.0, "corrections": None} | options
        self.loop = ControlLoop(
            options.pop("robot", self.arm),
            options.pop("inference", self.inference),
            self.operator,
            options.pop("corrections"),
            self.arm,
            HZ,
            options.pop("sinks", [self.kept]),
            **options,
        )

    def tick(self, *events: Event) -> Frame:
        self.operator.say(*events)
        return self.loop.tick()

    def plan(self, joints: Sequence[float], ticks: float = 100) -> None:
        """An answer to the present context, from the next tick on."""
        t, version = self.arm.t + DT * bool(self.kept.frames), self.loop.context.version
        self.inference.ready.append(constant(t, joints, version, ticks))


def following(joints: Sequence[float] = (0.1, 0.2), **options: Any) -> Rig:
    """A rig in POLICY that has just taken up a plan for `joints`."""
    rig = Rig(**options)
    rig.tick(Start("go"))
    rig.plan(joints)
    assert not rig.tick().starved
    return rig
