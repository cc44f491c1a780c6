"""Whether what a training needs, see `local.training.memory`, fits the memory that there is."""

from __future__ import annotations

from typing import Any

from local.core.errors import UserError
from local.core.free_memory import Room
from local.training.memory import Need

FROZEN = {"freeze_cnn": "true", "freeze_layers": "N", "freeze": "true"}  # keys by which less of an encoder learns


def refuse_too_large(need: Need, there: Room, count: int, values: dict[str, Any]) -> None:
    """Raise a UserError where so many processes at a time certainly need more memory than there is.

    `values` are the YAML's.
    """
    if count * need.certain <= there.size:
        return
    each = f"{count} processes at a time need" if count > 1 else "a training needs"
    remedies = ["fewer --jobs or --processes"] if count > 1 else []
    if need.batch > 0.2 * need.certain:
        remedies.append(f"a smaller --{need.bound} than {values[need.bound]:g}")
    if need.states > 0.2 * need.certain:
        frozen = [f"--{key} {value}" for key, value in FROZEN.items() if key in values]
        remedies += [f"{', '.join(frozen)} or a smaller --encoder"] if frozen else []
    raise UserError(
        f"{each} {count * need.certain / 1e9:.1f} GB of memory at least, and {there.where} has {there.size / 1e9:.1f}",
        f"take {'; or '.join([*remedies, 'another --device or machine'])}",
    )


def said(need: Need, there: Room, count: int = 1) -> str:
    """Say what is predicted, of how much, and where that is not free now."""
    times = f", {count} at a time" if count > 1 else ""
    line = f"memory: {need}{times}; {there.where} has {there.size / 1e9:.1f} GB"
    if count * need.predicted > there.free:
        line += f", of which only {there.free / 1e9:.1f} are free now: expect it to be slow, or to be ended"
    return line
