"""One command from its words to its results: configuration, folder, run, summary."""

import importlib
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from robomem.cli.configuration import choices_of, compose, settings_of
from robomem.cli.runfolder import RunFolder


def execute(command: str, arguments: Sequence[str]) -> int:
    """Run `command`; its exit status. `robomem.cli.<command>` has `Settings`, a dataclass, and `run`."""
    module = importlib.import_module(f"robomem.cli.{command}")
    if any(word in ("-h", "--help") for word in arguments):
        print(help_text(command, module))
        return 0
    configuration = compose(command, arguments, module.Settings)
    folder = RunFolder(command.replace("_", " "), configuration.out)
    folder.write_config(configuration.yaml)
    result: dict[str, Any] = module.run(configuration.settings, folder)
    exit_code = int(result.pop("exit_code", 0))
    folder.write_summary({"seed": None, **result})
    print(folder.path)
    return exit_code


def help_text(command: str, module: Any) -> str:
    """The command's own words, what it chooses from, and its settings with their default values."""
    choices = "\n".join(f"  {group}={'|'.join(names)}" for group, names in choices_of(command).items())
    settings = indent("\n".join(settings_of(command).values()), "  ")
    chosen = f"choices:\n{choices}\n\n" if choices else ""
    usage = f"robomem {command.replace('_', ' ')} [setting=value ...]"
    return f"{usage}\n\n{module.__doc__}\n{chosen}settings:\n{settings}"
