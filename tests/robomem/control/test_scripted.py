"""Scripts that stand in for a person."""

from robomem.control.scripted import EpisodeOperator, ScriptedOperator
from robomem.types import End, Say, Start, Stop
from tests.robomem.control.joint_arm import JointArm


def test_events_come_when_their_time_since_the_first_poll_has_come() -> None:
    clock = JointArm()
    clock.t = 100.0
    operator = ScriptedOperator(clock, [(1.0, Say("b")), (0.0, Start("go")), (1.0, Say("c")), (2.5, End())])
    told = []
    for t in (100.0, 100.5, 101.0, 101.0, 103.0, 104.0):
        clock.t = t
        told.append(list(operator.poll()))
    assert told == [[Start("go")], [], [Say("b"), Say("c")], [], [End()], []]


def test_an_episode_is_started_once_and_ended_once() -> None:
    over = False
    operator = EpisodeOperator("go", lambda: over)
    told = [list(operator.poll()), list(operator.poll())]
    over = True
    told += [list(operator.poll()), list(operator.poll())]
    assert told == [[Start("go")], [], [End(), Stop()], []]


def test_an_episode_that_is_over_from_the_start_is_still_started() -> None:
    operator = EpisodeOperator("go", lambda: True)
    assert [list(operator.poll()) for _ in range(3)] == [[Start("go")], [End(), Stop()], []]
