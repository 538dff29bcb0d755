"""Parts from their configuration: the only place that turns a `_target_` into an object."""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from robomem.cli.configuration import BadSetting, one_line
from robomem.errors import RobomemError


def build(part: Mapping[str, Any], **parts: Any) -> Any:
    """What `part` describes, given other parts that it needs. Raises BadSetting, or the part's own RobomemError."""
    try:
        return instantiate(dict(part), **parts, _convert_="all", _recursive_=False)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, RobomemError):
            raise cause from None
        raise BadSetting(one_line(cause or error)) from None
