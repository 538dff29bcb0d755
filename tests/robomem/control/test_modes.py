"""Every pair of mode and event, against the table of the design written out by hand."""

import pytest

from robomem.control.modes import TRANSITIONS, next_mode
from robomem.errors import ModeError
from robomem.types import End, Event, JointCommand, Mode, Release, Say, Start, Stop, TakeOver

EVENTS: list[Event] = [Start("go"), Say("higher"), TakeOver(), Release(), End(), Stop()]
ALLOWED = {
    "idle": {"Start": "policy", "Stop": "stopped"},
    "policy": {"Say": "policy", "TakeOver": "teleop", "End": "idle", "Stop": "stopped"},
    "teleop": {"Say": "teleop", "TakeOver": "teleop", "Release": "policy", "Stop": "stopped"},
    "stopped": {"Stop": "stopped"},
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("mode", Mode)
def test_every_pair_is_in_the_table_or_refused_with_the_choices(mode: Mode, event: Event) -> None:
    name, allowed = type(event).__name__, ALLOWED[mode.value]
    if name in allowed:
        assert next_mode(mode, event) is Mode(allowed[name])
    else:
        with pytest.raises(ModeError) as caught:
            next_mode(mode, event)
        assert str(caught.value) == f"no {name} while {mode}; allowed: {', '.join(sorted(allowed))}"
        assert caught.value.__suppress_context__


def test_the_table_has_nothing_else() -> None:
    assert len(TRANSITIONS) == sum(len(allowed) for allowed in ALLOWED.values())


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[Mode.STOPPED, Start] = Mode.POLICY  # type: ignore[index]


def test_a_command_in_the_event_does_not_change_the_answer() -> None:
    assert next_mode(Mode.POLICY, TakeOver(JointCommand([0.0], 0.5))) is Mode.TELEOP
