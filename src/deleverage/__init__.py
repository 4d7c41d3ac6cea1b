"""Monte Carlo sweeps of a leveraged crash across collateral, index and liquidation policies.

The public names are imported when they are first used, so that `import deleverage` starts nothing:
no JAX backend, no xarray, no Dask.
"""

from typing import TYPE_CHECKING

from deleverage.lazy import lazily

if TYPE_CHECKING:
    from deleverage.analysis import attribution, compare, frontier, systemic, tail
    from deleverage.analysis.summary import summary
    from deleverage.config import build, load_config
    from deleverage.results import open_run
    from deleverage.search import search
    from deleverage.sweep import run, simulate
    from deleverage.sweep.replay import replay

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "attribution",
    "build",
    "compare",
    "frontier",
    "load_config",
    "open_run",
    "replay",
    "run",
    "search",
    "simulate",
    "summary",
    "systemic",
    "tail",
]

_HOMES = {
    "attribution": "deleverage.analysis",
    "build": "deleverage.config",
    "compare": "deleverage.analysis",
    "frontier": "deleverage.analysis",
    "load_config": "deleverage.config",
    "open_run": "deleverage.results",
    "replay": "deleverage.sweep.replay",
    "run": "deleverage.sweep",
    "search": "deleverage.search",
    "simulate": "deleverage.sweep",
    "summary": "deleverage.analysis.summary",
    "systemic": "deleverage.analysis",
    "tail": "deleverage.analysis",
}

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
