"""Templates of pages: a name that is missing is an error, and a line of a tag leaves none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2


def load_template(path: Path, filters: dict[str, Callable], **settings: Any) -> jinja2.Template:
    """Load a template, and those beside it that it includes; `settings` are those of `jinja2.Environment`.

    They must say how what comes from data is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
    environment.filters |= filters
    return environment.get_template(path.name)
