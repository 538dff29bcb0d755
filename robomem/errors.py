"""Every failure of the domain has a kind of its own; its message names the wrong thing and lists the right ones."""

from collections.abc import Iterable


class RobomemError(Exception):
    """Root of all expected failures: the command line prints the message and exits with `exit_code`."""

    exit_code = 1


class InvalidChunk(RobomemError):
    """An action chunk that is empty, not finite, not ordered in time, or asked for a time outside it."""


class UnknownName(RobomemError):
    """A name that is not among the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no {kind} '{name}'; known: {', '.join(sorted(known))}")


class CheckpointError(RobomemError):
    """A checkpoint that is missing, truncated, or of another shape than the policy."""


class StoreError(RobomemError):
    """An episode store that cannot be opened, read or written."""


class SpecMismatch(RobomemError):
    """Data whose shapes or names differ from what the consumer was built for, such as a camera size."""


class RenderError(RobomemError):
    """No picture can be rendered on this machine, with what to install."""


class PhysicsError(RobomemError):
    """The simulation diverged."""


class ModeError(RobomemError):
    """A mode change that the mode table does not allow."""
