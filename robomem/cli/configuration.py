"""conf/ and the words of the command line, composed by hydra and checked by the command's own dataclass."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robomem.errors import RobomemError, UnknownName

REPOSITORY = Path(__file__).resolve().parents[2]
CONF = REPOSITORY / "conf"
OmegaConf.register_new_resolver("repository", lambda path: str(REPOSITORY / path), replace=True)


class BadSetting(RobomemError):
    """A word of the command line, or a value in conf/, that the command does not take."""

    exit_code = 2


@dataclass(frozen=True)
class Configuration:
    """A command's settings as its own dataclass, and the same as YAML; `out` belongs to every command."""

    settings: Any
    yaml: str
    out: str | None


def compose(command: str, overrides: Sequence[str], schema: type) -> Configuration:
    """conf/<command>.yaml under `overrides`, as a `schema`. Raises BadSetting or UnknownName with the right choices."""
    composed = compose_raw(command, overrides)
    yaml = OmegaConf.to_yaml(composed, resolve=True)
    out = composed.pop("out")
    if missing := OmegaConf.missing_keys(composed):
        raise BadSetting(f"{', '.join(sorted(missing))} must be given: setting=value")
    try:
        settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), composed))
    except (OmegaConfBaseException, ValueError) as error:
        raise BadSetting(one_line(error)) from None
    return Configuration(settings, yaml, out)


def compose_raw(command: str, overrides: Sequence[str] = ()) -> DictConfig:
    """conf/<command>.yaml under `overrides`, unchecked."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            words = [_quoted(word) for word in overrides]
            _check_words(command, words)
            composed = hydra_compose(command, words)
        except MissingConfigException as error:
            group, _, name = str(error.missing_cfg_file).rpartition("/")
            raise UnknownName(group, name, error.options or ()) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise BadSetting(one_line(error)) from None
    OmegaConf.set_struct(composed, False)
    return composed


def task_parts(name: str) -> dict[str, Any]:
    """conf/task/<name>.yaml. Raises UnknownName."""
    composed = compose_raw("run", [f"task={name}"])
    parts: dict[str, Any] = OmegaConf.to_container(composed.tasks[name])  # type: ignore[assignment]
    return parts


def choices_of(command: str) -> dict[str, list[str]]:
    """The groups that `command` chooses from, and the names in each."""
    file: Any = OmegaConf.load(CONF / f"{command}.yaml")
    choices: dict[str, list[str]] = {}
    for entry in file.get("defaults", ()):
        if isinstance(entry, str):
            choices |= choices_of(entry) if entry != "_self_" else {}
            continue
        for group, name in entry.items():
            choices |= _choices_within(str(group), name)
    return choices


def _choices_within(group: str, name: str) -> dict[str, list[str]]:
    """The names in `group`, and what its file `name` chooses from in turn, by the words that choose it."""
    folder, _, package = group.partition("@")
    choices = {group: sorted(path.stem for path in (CONF / folder).glob("*.yaml"))}
    file: Any = OmegaConf.load(CONF / folder / f"{name}.yaml")
    for entry in file.get("defaults", ()):
        for inner, its in entry.items() if not isinstance(entry, str) else ():
            inside, _, place = str(inner).removeprefix("/").partition("@")
            choices |= _choices_within(f"{inside}@{package or folder}.{place}", its)
    return choices


def settings_of(command: str) -> dict[str, str]:
    """The lines in conf/ that give each setting of `command` its default and say what it is, also inherited ones."""
    text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
    file: Any = OmegaConf.create(text)
    settings: dict[str, str] = {}
    for entry in file.get("defaults", ()):
        if isinstance(entry, str) and entry != "_self_":
            settings |= settings_of(entry)
    own = {match[1]: match[0] for match in re.finditer(r"^(\w+):.*(?:\n .*)*", text, re.MULTILINE)}
    own.pop("defaults", None)
    return settings | own


def _quoted(word: str) -> str:
    """`word` with its value in quotes where it holds a "=" that hydra would stumble over: loss=0.2.pt is a file."""
    name, _, value = word.partition("=")
    return f"{name}='{value}'" if re.fullmatch(r"[^'\"\\\[{]*=[^'\"\\\[{]*", value) else word


def _check_words(command: str, overrides: Sequence[str]) -> None:
    """Every word is setting=value and the setting is known, by its first name."""
    known = sorted({*hydra_compose(command), *choices_of(command)})
    for word in overrides:
        if "=" not in word and not word.startswith("~"):
            raise BadSetting(f"'{word}' is not setting=value; settings: {', '.join(known)}")
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        group, name = override.get_key_element().lstrip("+~"), str(override.key_or_group).split(".")[0]
        if group not in known and name not in known:
            raise UnknownName("setting", name, known)


def require_at_least(settings: Any, **least: float) -> None:
    """Raises ValueError at the first of the named settings that is below its `least`."""
    for name, bound in least.items():
        if not getattr(settings, name) >= bound:
            raise ValueError(f"{name} is {getattr(settings, name)}, expected {bound} or more")


def require_above_zero(settings: Any, *names: str) -> None:
    """Raises ValueError at the first of the named settings that is not a finite number above 0."""
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}, expected a finite number above 0")


def require_one_task(settings: Any) -> None:
    """Raises ValueError unless exactly one task is chosen."""
    if len(settings.tasks) != 1:
        raise ValueError(f"{len(settings.tasks)} tasks; choose one task: task=NAME; --help lists them")


def require_weights(policies: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError at the first of `policies`, by the word that chooses it, that has none: a demonstrator."""
    for word, policy in policies.items():
        if "path" not in policy:
            raise ValueError(f"{word} is {policy['_target_']}, which has no weights; choose {word}=memoryvla")


def one_line(error: BaseException) -> str:
    """hydra's and OmegaConf's messages are paragraphs; the setting and the first lines say it."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith(("object_type", "full_key", "See http")))
    setting = getattr(error, "full_key", None) or getattr(error, "override", None)
    return f"{setting}: {said}" if setting else said
