"""README promises Python 3.10, and the tests mostly run with a newer one: nothing that it lacks is used."""

import ast
import re
from collections.abc import Iterator

import pytest
from paths import REPOSITORY

SINCE_3_11 = {  # of the standard library, from "What's New" of Python 3.11 to 3.13; an empty set is a whole module
    "asyncio": {"Runner", "TaskGroup", "timeout", "timeout_at", "Barrier"},
    "builtins": {"BaseExceptionGroup", "ExceptionGroup"},
    "contextlib": {"chdir"},
    "copy": {"replace"},
    "datetime": {"UTC"},
    "enum": {"EnumCheck", "FlagBoundary", "ReprEnum", "StrEnum", "global_enum", "member", "nonmember", "verify"},
    "hashlib": {"file_digest"},
    "inspect": {"getmembers_static", "markcoroutinefunction"},
    "itertools": {"batched"},
    "logging": {"getHandlerByName", "getHandlerNames", "getLevelNamesMapping"},
    "math": {"cbrt", "exp2", "fma", "sumprod"},
    "operator": {"call"},
    "sys": {"exception", "monitoring", "activate_stack_trampoline"},
    "tomllib": set(),
    "types": {"get_original_bases"},
    "typing": {
        *("LiteralString", "Never", "NotRequired", "ReadOnly", "Required", "Self", "TypeAliasType", "TypeIs"),
        *("TypeVarTuple", "Unpack", "assert_never", "assert_type", "clear_overloads", "dataclass_transform"),
        *("get_overloads", "override", "reveal_type"),
    },
    "warnings": {"deprecated"},
}
FILES = [path for folder in ("local", "ser_mtl") for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def newer(node: ast.AST) -> Iterator[str]:
    """What a file uses, when it is run, of what Python 3.10 has not."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names if SINCE_3_11.get(name.name) == set())
    elif isinstance(node, ast.ImportFrom) and (names := SINCE_3_11.get(node.module)) is not None:
        yield from (f"{node.module}.{name.name}" for name in node.names if not names or name.name in names)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.attr in SINCE_3_11.get(node.value.id, ()):
            yield f"{node.value.id}.{node.attr}"
    elif isinstance(node, ast.Name) and node.id in SINCE_3_11["builtins"]:
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from newer(child)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from typing import Any, Self", ["typing.Self"]),
        ("if TYPE_CHECKING:\n    from typing import Self", []),
        ("import tomllib, enum\nclass A(enum.StrEnum): ...", ["tomllib", "enum.StrEnum"]),
        ("raise ExceptionGroup('', [])", ["ExceptionGroup"]),
    ],
)
def test_what_is_newer_is_found(text, found):
    assert [*newer(ast.parse(text))] == found


def test_the_project_runs_with_the_oldest_python_that_it_promises():
    assert 'requires-python = ">=3.10"' in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    names = re.compile(rf"\b(tomllib|{'|'.join(name for names in SINCE_3_11.values() for name in names)})\b")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, feature_version=(3, 10))
        found = [*newer(tree)] if names.search(text) else []
        assert not found, f"{path.relative_to(REPOSITORY)}: {', '.join(found)}"
