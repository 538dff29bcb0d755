"""conf/: every file composes, every `_target_` is there, and every name is one that its constructor takes."""

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from policies.memoryvla.train import TrainConfig
from robomem.cli.configuration import CONF, choices_of, compose, compose_raw, settings_of
from robomem.cli.main import COMMANDS
from robomem.errors import UnknownName

COMMAND_FILES = sorted(path.stem for path in CONF.glob("*.yaml"))
GROUP_FILES = sorted(path.relative_to(CONF) for path in CONF.glob("*/**/*.yaml"))
HYDRA_KEYS = {"defaults", "_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def targets(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping at or below `node` that names a class or function."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def unknown_names(node: dict[str, Any]) -> set[str]:
    """Names in `node` that what it names does not take."""
    parameters = inspect.signature(get_object(node["_target_"])).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return set()
    return set(node) - HYDRA_KEYS - {parameter.name for parameter in parameters}


def test_every_command_has_a_file_and_every_file_a_command() -> None:
    of_words = {"correct"}  # what a person says, no settings
    assert {name.split("_")[0] for name in COMMAND_FILES} == set(COMMANDS) - of_words


@pytest.mark.parametrize("name", COMMAND_FILES)
def test_a_command_file_holds_exactly_the_settings_of_its_command(name: str) -> None:
    settings = importlib.import_module(f"robomem.cli.{name}").Settings
    assert set(compose_raw(name)) - {"out"} == {field.name for field in fields(settings)}
    lists = {field.name for field in fields(settings) if field.type in (list[str], Any)}
    missing = OmegaConf.missing_keys(compose_raw(name))
    must_be_given = [f"{key}=[x]" if key in lists else f"{key}=x" for key in missing]
    assert isinstance(compose(name, must_be_given, settings).settings, settings)


@pytest.mark.parametrize("name", COMMAND_FILES)
def test_no_setting_is_called_as_a_group(name: str) -> None:
    chosen = {group.partition("@")[0] for group in choices_of(name)}
    assert {key for key in settings_of(name) if (CONF / key).is_dir()} <= chosen  # hydra takes the others for choices


@pytest.mark.parametrize("path", GROUP_FILES, ids=str)
def test_a_group_file_names_real_classes_and_their_arguments(path: Path) -> None:
    for node in targets(OmegaConf.to_container(OmegaConf.load(CONF / path), resolve=False)):
        assert unknown_names(node) == set()


@pytest.mark.parametrize("expert", ["nano", "l", "incontext_s"])
def test_a_method_is_trained_with_the_expert_that_is_chosen(expert: str) -> None:
    chosen = compose_raw("train", [f"expert@method.config.model.expert={expert}"]).method.config.model.expert
    assert chosen == OmegaConf.load(CONF / "expert" / f"{expert}.yaml")
    with pytest.raises(UnknownName, match=r"no expert 'xl'; known: b, .*incontext_s, l, nano, s"):
        compose_raw("train", ["expert@method.config.model.expert=xl"])


def test_what_a_file_chooses_from_in_turn_is_among_the_choices() -> None:
    choices = choices_of("train")
    assert choices["expert@method.config.model.expert"] == sorted(path.stem for path in (CONF / "expert").glob("*"))
    within = {"expert@method.config.model.expert", "vlm@method.config.model.encoder"}
    assert set(choices) == {"task", "robot", "kinematics", "method", "ablation", *within}


def test_conf_trains_as_the_code_does_by_default() -> None:
    config = instantiate(compose_raw("train").method, _convert_="object").keywords["config"]
    assert config == TrainConfig()


def test_an_unknown_argument_would_be_found() -> None:
    assert unknown_names({"_target_": "fractions.Fraction", "numerator": 1, "numerater": 2}) == {"numerater"}
