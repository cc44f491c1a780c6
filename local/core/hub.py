"""Single files of the repositories of the Hugging Face hub, and what its cache has of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from local.core.errors import UserError

NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")  # owner/name


def is_name(source: str) -> bool:
    """Whether it may be a repository's name: a file or folder that is here, and is called so, comes first."""
    return bool(NAME.fullmatch(source)) and not Path(source).exists()


def cached(name: str, file: str, commit: str | None = None) -> Path | None:
    """A file in the cache, of a commit or the newest one there, without the network; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache  # a third of a second

    try:
        path = try_to_load_from_cache(name, file, revision=commit)
    except ValueError:  # no name of the hub: a folder that is gone
        return None
    return Path(path) if isinstance(path, str) else None


def fetch(name: str, files: Sequence[str], where: str, commit: str | None = None) -> Path | None:
    """The first of some files that a repository has, from the cache; where that has none, one is downloaded into it.

    None if the repository has none of them. A `UserError`, which begins with `where`, if the hub does not give it: no
    such name, no permission, no network.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    if here := next(filter(None, (cached(name, file, commit) for file in files)), None):
        return here
    for file in files:
        try:
            return Path(hf_hub_download(name, file, revision=commit))
        except RemoteEntryNotFoundError:
            continue
        except Exception as error:  # each reason has a class of its own
            said = str(error.__cause__ or error).strip().partition("\n")[0]
            raise UserError(
                f"{where}: the hub does not give {file} ({said})",
                "correct the name, owner/name, download it where there is a network, or give the path of a copy",
            ) from None
    return None
