"""Text that comes from anywhere, inside Markdown: shown, and nothing else."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup


def prose(text: Any) -> Markup:
    r"""Show text as it is, on one line: no Markdown in it counts but code between single backticks.

    >>> prose("<b> of `a_b`")
    Markup('\\<b\\> of `a_b`')
    """
    if isinstance(text, Markup):
        return text
    parts = re.split(r"(?<!`)(`[^`]+`)(?!`)", re.sub(r"\s+", " ", str(text)))
    parts[::2] = (re.sub(r"([\\`*_\[\]<>&|~$#])", r"\\\1", part) for part in parts[::2])
    return Markup("".join(parts))


def code(text: Any) -> Markup:
    """Show text as code, in a fence of more backticks than it has in a row (CommonMark 6.1).

    >>> code("a`b")
    Markup('`` a`b ``')
    """
    text = " ".join(str(text).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    blank = " " if len(fence) > 1 else ""
    return Markup(f"{fence}{blank}{text}{blank}{fence}")
