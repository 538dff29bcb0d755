"""Episodes of an evaluation, played in a worker process: each pair of seeds under every arm."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from robomem.cli.build import build
from robomem.cli.configuration import BadSetting
from robomem.cli.episode import run_episode
from robomem.cli.session import Session
from robomem.cli.story import Storyteller, save_story
from robomem.control.inference import InlineInference

Part = dict[str, Any]
Result = dict[str, Any]


def play(
    name: str,
    seeds: Sequence[int],
    wanted: Sequence[Sequence[Any]],
    told: Sequence[Sequence[Any]],
    parts: Part,
    max_chunk_age_s: float,
    folder: str,
) -> Iterator[Result]:
    """The worker's job: task `name` on two `seeds`, one message for every (arm, seed) in `wanted`.

    Each seed's episode is the other that is swapped in for its partner. Those in `told` leave their story in `folder`.
    """
    pair = _Pair(name, seeds, parts, max_chunk_age_s)
    for arm, seed in wanted:
        story = Path(folder) / f"{name}_{arm}_{seed}.npz" if [arm, seed] in told else None
        yield pair.play(arm, seed, story)


class _Pair:
    """Two seeds of a task; remembers the memories of episodes played, for the arms that need another's."""

    def __init__(self, task: str, seeds: Sequence[int], parts: Part, max_chunk_age_s: float) -> None:
        self._task, self._parts, self._max_chunk_age_s = task, parts, max_chunk_age_s
        self._partner = {seeds[0]: seeds[1], seeds[1]: seeds[0]}
        self._histories: dict[tuple[str, int], Any] = {}

    def play(self, arm: str, seed: int, story: Path | None = None) -> Result:
        """One episode; what came of it."""
        parts, chosen = self._parts, self._parts["arms"][arm]
        robot = _robot(json.dumps(parts["robot"]), json.dumps(parts["tasks"][self._task]))
        geometry = _shared(json.dumps(parts["kinematics"]))
        policy = _policy(json.dumps(parts["policies"][chosen["policy"]]), json.dumps(parts["kinematics"]))
        memory = build(chosen["memory"], **self._given(chosen, seed))
        inference = InlineInference(policy, policy.period, arm=memory, delay_s=parts["delay_s"])
        teller = Storyteller(robot, inference) if story else None
        sinks = [teller] if teller else []
        outcome = run_episode(Session(robot, geometry, inference, "policy"), seed, sinks, self._max_chunk_age_s)
        if hasattr(memory, "history"):
            self._histories[arm, seed] = memory.history
        if teller and story:
            save_story(story, teller.story(arm, seed))
        counts = {key: outcome.counts[key] for key in ("ticks", "starved", "refused")}
        result = {"task": self._task, "arm": arm, "seed": seed, "success": outcome.success, "score": outcome.score}
        return {**result, **counts, "actions_sha256": outcome.actions_sha256}

    def _given(self, chosen: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """For an arm that needs them: the memories of the partner's episode, played now if it was not yet."""
        if "memories_of" not in chosen:
            return {}
        other = (chosen["memories_of"], self._partner[seed])
        if other not in self._histories:
            self.play(*other)
        if other not in self._histories:
            raise BadSetting(f"arm '{other[0]}' keeps no memories that another arm could be given")
        return {"history": self._histories[other]}


@cache
def _robot(robot: str, task: str) -> Any:
    return build(json.loads(robot), task=build(json.loads(task)))


@cache
def _shared(part: str) -> Any:
    return build(json.loads(part))


@cache
def _policy(policy: str, kinematics: str) -> Any:
    return build(json.loads(policy), kinematics=_shared(kinematics))
