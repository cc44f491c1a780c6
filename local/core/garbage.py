"""Garbage collections, which a command leaves out until it has loaded its modules and built its system.

None of that is garbage, and each collection goes through all of it: a sixth of the seconds that a start takes.
"""

import gc


def ignore() -> None:
    """Leave collections out, until `collect`."""
    gc.disable()


def collect() -> None:
    """Collect again, if that was left out; what exists now stays, and no collection goes through it."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
