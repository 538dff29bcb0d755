"""Parts from their configuration: the only place that turns a `_target_` into an object."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object

from robomem.cli.configuration import BadSetting, one_line

TARGET = "_target_"


def build(part: Mapping[str, Any], **parts: Any) -> Any:
    """What `part` describes, given those of the other `parts` that it takes.

    Plain calls: hydra's own `instantiate` would rewrite the other parts as configuration. Raises BadSetting.
    """
    settings = {name: value for name, value in part.items() if name != TARGET}
    others = {name: other for name, other in parts.items() if name in takes(part)}
    try:
        return get_object(part[TARGET])(**settings, **others)
    except (TypeError, ValueError) as error:
        raise BadSetting(f"{part[TARGET]}: {one_line(error)}") from error


def takes(part: Mapping[str, Any]) -> frozenset[str]:
    """Names that what `part` describes can be given. Raises BadSetting when there is nothing of that name."""
    try:
        return frozenset(inspect.signature(get_object(part[TARGET])).parameters)
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise BadSetting(one_line(error)) from None
