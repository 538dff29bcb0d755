"""Who moves the arm, as one table: any pair of mode and event that is not in it is refused."""

from collections.abc import Mapping
from types import MappingProxyType

from robomem.errors import ModeError
from robomem.types import End, Event, Mode, Release, Say, Start, Stop, TakeOver

# Say changes what the policy is asked, not who moves the arm. A further TakeOver is the person moving.
TRANSITIONS: Mapping[tuple[Mode, type[Event]], Mode] = MappingProxyType(
    {
        (Mode.IDLE, Start): Mode.POLICY,
        (Mode.POLICY, Say): Mode.POLICY,
        (Mode.POLICY, TakeOver): Mode.TELEOP,
        (Mode.POLICY, End): Mode.IDLE,
        (Mode.TELEOP, Say): Mode.TELEOP,
        (Mode.TELEOP, TakeOver): Mode.TELEOP,
        (Mode.TELEOP, Release): Mode.POLICY,
        (Mode.IDLE, Stop): Mode.STOPPED,
        (Mode.POLICY, Stop): Mode.STOPPED,
        (Mode.TELEOP, Stop): Mode.STOPPED,
        (Mode.STOPPED, Stop): Mode.STOPPED,
    }
)


def next_mode(mode: Mode, event: Event) -> Mode:
    """The mode after `event`. Raises ModeError, which lists the events that `mode` allows."""
    try:
        return TRANSITIONS[mode, type(event)]
    except KeyError:
        allowed = sorted(kind.__name__ for start, kind in TRANSITIONS if start is mode)
        raise ModeError(f"no {type(event).__name__} while {mode}; allowed: {', '.join(allowed)}") from None
