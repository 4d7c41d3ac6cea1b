"""From a YAML file to the arrays of the kernel: `load_config`, then `build`.

Nothing heavy is imported until one of the names is used.
"""

from typing import TYPE_CHECKING

from deleverage.lazy import lazily

if TYPE_CHECKING:
    from deleverage.config.built import Built, build
    from deleverage.config.load import load_config
    from deleverage.config.models import Config

__all__ = ["Built", "Config", "build", "load_config"]

_HOMES = {
    "Built": "deleverage.config.built",
    "Config": "deleverage.config.models",
    "build": "deleverage.config.built",
    "load_config": "deleverage.config.load",
}

__getattr__ = lazily(__name__, _HOMES)
