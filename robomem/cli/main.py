"""`robomem <command> [setting=value ...]`: finds the command, runs it, and says in one line what failed."""

import os
import select
import signal
import sys
from collections.abc import Sequence

from robomem.errors import RobomemError, UnknownName

COMMANDS = {
    "demo": "a first look: the shipped policy on every task, with and without its memory",
    "run": "run one episode and report on it",
    "replay": "feed a stored episode back and say where it first differs",
    "eval": "success on unseen seeds, and what the memory is worth",
    "compare": "evaluations side by side: training seeds, and their median",
    "correct": "what a person's words are understood as: correct parse TEXT...",
    "collect": "record demonstrations for training",
    "train": "train a policy on what was collected",
    "convert": "make a checkpoint of MemoryVLA's released code one of ours",
    "bench": "how fast it is, and how smooth: bench policy, sampler, memory, published, joining, data",
    "doctor": "what this machine can do, and what to install for the rest",
}

CORRECT_USAGE = """usage: robomem correct parse [TEXT ...]

Prints what each TEXT is understood as, one JSON record a line, or {"refused": why}. Without TEXT, each line that comes
in is one. Words are read by an embedded grammar; nothing is sent anywhere, nothing is kept."""

BENCHES = {
    "policy": "how long a policy step takes",
    "sampler": "how long denoising takes, against upstream's arithmetic",
    "memory": "how long a memory step takes, against upstream's arithmetic",
    "published": "how long a step of MemoryVLA-7B takes on a GPU, against upstream's arithmetic",
    "joining": "how smoothly new chunks join the running ones",
    "data": "how many random windows of episodes are read a second",
}

USAGE = """usage: robomem <command> [setting=value ...]

A control stack for robot arms that remember.

commands:
{commands}

Every command takes out=DIR, the folder for its results; without it, outputs/<command>/<stamp>/.
`robomem <command> --help` lists the settings of a command."""

BENCH_USAGE = """usage: robomem bench <which> [setting=value ...]

Says how fast it is on this machine, and how smooth.

benches:
{benches}

`robomem bench <which> --help` lists the settings of a bench."""


def usage() -> str:
    """What `robomem --help` prints."""
    return USAGE.format(commands=_listed(COMMANDS))


def _listed(names: dict[str, str]) -> str:
    width = max(map(len, names))
    return "\n".join(f"  {name:{width}}  {what}" for name, what in names.items())


def _which_bench(arguments: list[str]) -> str:
    """The word after "bench", taken from `arguments`."""
    which = arguments.pop(0) if arguments else ""
    if which not in BENCHES:
        raise UnknownName("bench", which, BENCHES)
    return which


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a failure it names, 2 bad input, 130 interrupted, 141 nobody reads
    any longer what it prints (`robomem ... | head -1`)."""
    try:
        status = _answer(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it exits
        return 128 + signal.SIGPIPE


def _nobody_reads() -> bool:
    ready = select.poll()
    ready.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in ready.poll(0))


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    command = arguments.pop(0)
    if command == "bench" and arguments[:1] in (["-h"], ["--help"]):
        print(BENCH_USAGE.format(benches=_listed(BENCHES)))
        return 0
    if command == "correct":
        return _correct(arguments)
    os.environ["MUJOCO_GL"] = "disable"  # sim draws by EGL itself; without it mujoco could not even be imported
    try:
        if command not in COMMANDS:
            raise UnknownName("command", command, COMMANDS)
        if command == "bench":
            command = f"bench_{_which_bench(arguments)}"
        from robomem.cli.command import execute  # late: --help stays quick

        return execute(command, arguments)
    except RobomemError as error:
        print(f"robomem {command.replace('_', ' ')}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UnknownName) else error.exit_code
    except KeyboardInterrupt:
        print(f"robomem {command.replace('_', ' ')}: interrupted; what was done is kept", file=sys.stderr)
        return 130


def _correct(arguments: list[str]) -> int:
    """`robomem correct parse TEXT...`: words of a person, not settings."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(CORRECT_USAGE)
        return 0 if arguments else 2
    if arguments[0] != "parse":
        print(f"robomem correct: {UnknownName('word', arguments[0], ['parse'])}", file=sys.stderr)
        return 2
    from robomem.cli.correct import parse

    parse(arguments[1:] or (line.rstrip("\n") for line in sys.stdin))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
