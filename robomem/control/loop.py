"""The one loop that moves an arm, in simulation and on a table."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace

from robomem.control.limits import describe_limiting
from robomem.control.modes import next_mode
from robomem.control.plan import Plan
from robomem.control.rate import Rate
from robomem.errors import InvalidChunk, ModeError
from robomem.interfaces import Clock, Corrections, Inference, Kinematics, Operator, Robot, Sink
from robomem.types import (
    Context,
    End,
    Event,
    Frame,
    JointCommand,
    Mode,
    Observation,
    Release,
    Say,
    Source,
    Start,
    TakeOver,
)

log = logging.getLogger(__name__)

LATE_SHARE = 0.125  # of a period past its deadline, from which a tick counts as late


class ControlLoop:
    """Observes, asks, commands: once every 1 / `hz` seconds, from whatever moves the arm in the present mode.

    `max_chunk_age_s` [s]: a chunk further than this from its first action is never executed. `kinematics` is needed for
    policies that plan in tool space. Episode k of a run is seeded `seed` + k. `source` names who the inference is.
    Counts `ticks`, and of these the `late`, the `starved` and the `refused`. Not for more than one thread.
    """

    def __init__(
        self,
        robot: Robot,
        inference: Inference,
        operator: Operator,
        corrections: Corrections | None,
        clock: Clock,
        hz: float,
        sinks: Sequence[Sink],
        *,
        max_chunk_age_s: float,
        kinematics: Kinematics | None = None,
        seed: int = 0,
        source: Source = "policy",
    ) -> None:
        if not (math.isfinite(max_chunk_age_s) and max_chunk_age_s > 0):
            raise ValueError(f"max_chunk_age_s is {max_chunk_age_s}, expected a finite time above 0 s")
        self.mode = Mode.IDLE
        self.context = Context("")
        self.ticks = self.late = self.starved = self.refused = 0
        self._robot, self._inference, self._operator = robot, inference, operator
        self._corrections, self._clock, self._sinks = corrections, clock, tuple(sinks)
        self._rate = Rate(clock, hz)
        self._max_chunk_age_s = max_chunk_age_s
        self._kinematics = kinematics
        self._seed = seed
        self._episodes = 0
        self._source: Source = source
        self._plan: Plan | None = None
        self._by_hand: JointCommand | None = None
        self._last: JointCommand | None = None

    def run(self) -> None:
        """Ticks until stopped. However it ends, the robot is stopped, then the inference."""
        log.info("loop starts at %g Hz", 1 / self._rate.period)
        try:
            while self.mode is not Mode.STOPPED:
                self.tick()
        finally:
            try:
                self._robot.stop()
            finally:
                self._inference.stop()
            log.info("loop ends: %s", self.summary())

    def tick(self) -> Frame:
        """Waits for the deadline, then acts once: one command, or robot.stop() when stopped.

        Only `run` sees to it that the robot is stopped when this raises.
        """
        late_s = self._rate.wait()
        obs = self._robot.observe()
        last = JointCommand(obs.joint_pos, obs.gripper) if self._last is None else self._last
        refused = [self._obey(event, obs) for event in self._operator.poll()]
        wanted, starved, source = last, False, self._source
        if self.mode in (Mode.POLICY, Mode.TELEOP):
            refused.append(self._think(obs))
        if self.mode is Mode.POLICY:
            wanted, starved, words = self._planned(last)
            refused.append(words)
        elif self.mode is Mode.TELEOP:
            wanted, source = last if self._by_hand is None else self._by_hand, "human"
        sent = self._last = self._send(wanted)
        words = "; ".join(filter(None, [*refused, describe_limiting(wanted, sent)]))
        frame = Frame(obs, self.mode, wanted, sent, self.context.version, starved, late_s, words, source)
        self._count(frame)
        for sink in self._sinks:
            sink.append(frame)
        return frame

    def summary(self) -> dict[str, object]:
        """Counts so far and the lateness [us], under the names of `summary.json`; `skipped` are deadlines."""
        counts = {"ticks": self.ticks, "late": self.late, "starved": self.starved, "refused": self.refused}
        return {**counts, "skipped": self._rate.skipped, "lateness_us": self._rate.lateness_us()}

    def _obey(self, event: Event, obs: Observation) -> str:
        """Does what `event` asks; in words, what of it was refused."""
        try:
            mode = next_mode(self.mode, event)
        except ModeError as error:
            return str(error)
        words = self._carry_out(event, obs)
        if mode is not self.mode:
            log.info("%s -> %s", self.mode, mode)
        self.mode = mode
        return words

    def _carry_out(self, event: Event, obs: Observation) -> str:
        """What an allowed event changes besides the mode; in words, what of it was refused."""
        match event:
            case Start(instruction):
                self._begin(instruction, obs)
            case Say(text):
                return self._hear(text, obs)
            case TakeOver(command):
                self._plan = None
                return self._follow(command, len(obs.joint_pos))
            case Release():  # a new version: what was planned while the person moved the arm is not executed
                self._by_hand = None
                self.context = replace(self.context, version=self.context.version + 1)
            case End():
                self._plan = None
                self._inference.stop()
        return ""

    def _begin(self, instruction: str, obs: Observation) -> None:
        """A new episode: empty memory, and what was learned before for one like it."""
        recalled = self._corrections.recall(instruction, obs) if self._corrections else ()
        self.context = Context(instruction, tuple(recalled), self.context.version + 1)
        self._inference.start(self._seed + self._episodes)
        self._episodes += 1

    def _hear(self, text: str, obs: Observation) -> str:
        """Changes the context by `text`; the present plan runs on until the answer comes. In words, why not."""
        if self._corrections is None:
            return f"'{text}' not applied: this run takes no corrections"
        heard = self._corrections.hear(text, self.context, obs)
        if isinstance(heard, str):
            return f"'{text}' not applied: {heard}"
        corrections = (*self.context.corrections, heard)
        self.context = replace(self.context, corrections=corrections, version=self.context.version + 1)
        return ""

    def _follow(self, command: JointCommand | None, n_joints: int) -> str:
        """The person's command becomes what is wanted; in words, why not."""
        if command is None:
            return ""
        if len(command.joint_pos) != n_joints:
            return f"the person's command has {len(command.joint_pos)} joints, the arm has {n_joints}"
        self._by_hand = command
        return ""

    def _think(self, obs: Observation) -> str:
        """Offers `obs`, also while a person moves the arm, and takes up a finished chunk; in words, why not."""
        self._inference.submit(obs, self.context)
        try:
            chunk = self._inference.take()
        except InvalidChunk as error:
            return f"invalid chunk: {error}"
        if chunk is not None and self.mode is Mode.POLICY and chunk.context_version == self.context.version:
            self._plan = Plan.take_up(chunk, obs, self._kinematics)
        return ""

    def _planned(self, last: JointCommand) -> tuple[JointCommand, bool, str]:
        """What the plan wants now, else `last`; whether it starved; in words, what was refused."""
        if self._plan is None:
            return last, True, ""
        now = self._clock.now()
        if self._plan.is_stale(now, self._max_chunk_age_s):
            age_s, self._plan = now - self._plan.chunk.t[0], None
            return last, True, f"stale chunk: {age_s:.3g} s old, at most {self._max_chunk_age_s:g} s"
        try:
            return self._plan.command_at(now, last), False, ""
        except InvalidChunk:
            return last, True, ""

    def _send(self, wanted: JointCommand) -> JointCommand:
        """What the robot really took; stopped, it takes nothing and holds."""
        if self.mode is Mode.STOPPED:
            self._robot.stop()
            return wanted
        return self._robot.command(wanted)

    def _count(self, frame: Frame) -> None:
        self.ticks += 1
        self.late += frame.late_s > LATE_SHARE * self._rate.period
        self.starved += frame.starved
        self.refused += frame.refused != ""
