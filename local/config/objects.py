"""Faults of the objects that a YAML builds, as errors of two lines that name the object and the reason."""

from __future__ import annotations

import functools
import inspect
import pydoc
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hyperpyyaml.core

from local.config.keys import nearest
from local.core.errors import UserError

CALLERS = (hyperpyyaml.core.__file__, inspect.__file__)  # the files from which an object is built
UNEXPECTED = "unexpected keyword argument"


def refusing(prefix: str, construct: Callable) -> Callable:
    """HyperPyYAML's constructor of a tag (`!new:`, say), whose errors, of any class, become a UserError.

    Of what is called later (`!name:`) the names of the arguments are checked now.
    """

    def constructing(loader: Any, name: str, node: Any) -> Any:
        try:
            made = construct(loader, name, node)
            if isinstance(made, functools.partial):
                _check_arguments(made)
        except UserError:
            raise
        except Exception as error:  # a constructor may be the user's own code
            raise UserError(f"{prefix}{name} cannot be built: {reason(error)}", _remedy(name, error)) from error
        return made

    return constructing


def located(error: UserError, file: Path) -> UserError:
    """The error of `refusing` with the file that the user wrote, and the line of it that names the object."""
    tag = error.what.partition(" ")[0]
    lines = file.read_text(encoding="utf-8").splitlines()
    line = next((number for number, line in enumerate(lines, start=1) if tag in line and tag.startswith("!")), None)
    return error if line is None else UserError(f"{file}, line {line}: {error.what}", error.remedy)


def _check_arguments(made: functools.partial) -> None:
    try:
        signature = inspect.signature(made.func)
    except ValueError:  # of some built-in functions it is not known
        return
    signature.bind_partial(*made.args, **made.keywords)


def reason(error: Exception) -> str:
    """What an error says, in one line, and the file and line that raised it, unless that is the call."""
    said = " ".join(str(error.args[-1] if error.args else error).split()) or type(error).__name__
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return said if frame.filename in CALLERS else f"{said} ({frame.filename}, line {frame.lineno})"


def _remedy(name: str, error: Exception) -> str:
    """For a wrong name of an argument those that there are, the nearest first."""
    if isinstance(error, TypeError) and UNEXPECTED in str(error.args[-1]):
        known = list(inspect.signature(pydoc.locate(name)).parameters)
        near = nearest(str(error.args[-1]).split("'")[-2], known)
        return f"{f'{near}; ' if near else ''}its arguments are: {' '.join(known)}"
    return "correct it in the YAML"
