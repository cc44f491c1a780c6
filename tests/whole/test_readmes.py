"""The READMEs: their size and links, that what they name exists, and the words that this project avoids.

Every check is a function from text to a list of what is wrong, so that it is also tried on text that is wrong.
"""

from __future__ import annotations

import ast
import re
import shlex
import struct
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from paths import REPOSITORY

from local.config.hparams import plain_values

LOCAL = REPOSITORY / "local"
ROOMS = ("", "recipes", "hparams", "hparams/table3", "manifests", "results", "local")
GENERATED = [REPOSITORY / "results" / name for name in ("AVX2.md", "BENCHMARK.md", "GPU.md", "SYSTEMS.md")]
IGNORED = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
PAGES = [
    page
    for room in ROOMS
    for page in sorted((REPOSITORY / room).glob("*.md"))  # but for those of experiments that were run here
    if room != "results" or {f"!/results/{page.name}", f"!/results/{page.stem}.*"} & {*IGNORED}
]
PICTURE = REPOSITORY / "results" / "report.png"
LINES, WIDTH, MOST_BYTES = 150, 120, 200_000
README_WIDTH = 110
PLACES = ("local/", "tests/", "recipes/", "hparams/", ".ci/")  # with which the path of a file in the repository begins

IN_CODE = (
    *("heard nowhere", "has no say", "had no say", "made anew", "what became of", "of its own kind"),
    *("test part", "training part", "validation part"),
)
ON_PAGES = (
    *IN_CODE,
    *(r"processors?", r"stands", r"as far as", r"anew", r"bears", r"unlike", r"apart", r"told", r"answered"),
)


# Size


def oversize(text: str, width: int) -> list[str]:
    """What is too long in a page: its lines, tables and code blocks too, or their number."""
    lines = text.splitlines()
    wrong = [f"line {number} has {len(line)} characters" for number, line in enumerate(lines, 1) if len(line) > width]
    return wrong + ([f"{len(lines)} lines"] if len(lines) > LINES else [])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_is_short(page):
    # The tables of a generated page are as wide as their figures.
    width = README_WIDTH if page.parent == REPOSITORY else 10**6 if page in GENERATED else WIDTH
    assert not oversize(page.read_text(encoding="utf-8"), width)


def test_a_long_page_is_found():
    assert oversize("x\n" * 151, 110) == ["151 lines"]
    assert oversize("| " + "x" * 110 + " |", 110) == ["line 1 has 114 characters"]


# Links


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub names them."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def broken_links(page: Path, text: str) -> list[str]:
    """The links and pictures of a page that lead nowhere in the repository."""
    inline = [child for token in MarkdownIt().enable("table").parse(text) for child in token.children or ()]
    targets = [str(child.attrs[name]) for child in inline for name in ("href", "src") if name in child.attrs]
    wrong = []
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    assert not broken_links(page, page.read_text(encoding="utf-8"))


def test_every_page_is_linked_from_the_first():
    first = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(REPOSITORY)) for page in PAGES} | {"results/BENCHMARK.md"}
    assert all(f"]({page})" in first for page in pages - {"README.md"})


def test_generated_pages_are_in_the_repository():
    assert all(f"!/results/{page.stem}.*" in IGNORED for page in GENERATED)


def test_a_broken_link_is_found():
    text = (
        "[a](local/README.md#wings) [b](absent.md) ![c](results/report.png)\n\n| [d](local/README.md#absent) |\n|---|\n"
    )
    assert broken_links(REPOSITORY / "README.md", text) == ["absent.md", "local/README.md#absent"]


# What is named


def code_of(text: str) -> list[str]:
    """Each line of the code blocks of a page, and each piece of inline code."""
    tokens = MarkdownIt().enable("table").parse(text)
    blocks = [line for token in tokens if token.type in ("fence", "code_block") for line in token.content.splitlines()]
    return blocks + [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]


def words_of(line: str) -> list[str]:
    """The words of a command, without its comment; none where it is not one."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def options_among(words: list[str]) -> set[str]:
    """The names of the options among words, with dashes."""
    return {word.partition("=")[0][2:].replace("_", "-") for word in words if re.match("--[a-zA-Z]", word)}


@cache
def run_options() -> frozenset[str]:
    """The options that run.sh describes."""
    comment = (REPOSITORY / "run.sh").read_text(encoding="utf-8").partition("\nset ")[0].partition("# Options")[2]
    return frozenset(options_among(re.findall(r"--[a-z][a-z-]*", comment.partition("# After a lone")[0])))


@cache
def yaml_keys() -> frozenset[str]:
    """Every key of the YAML files: at the top, and those of a mapping behind its name and a dot."""
    keys = set()
    for file in sorted((REPOSITORY / "hparams").glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        keys |= set(re.findall(r"^(\w+):", text, re.MULTILINE))
        mappings = {key: value for key, value in plain_values(text).items() if isinstance(value, dict)}
        keys |= {f"{key}.{name}" for key, mapping in mappings.items() for name in mapping}
    return frozenset(keys)


def override_names() -> set[str]:
    """The keys at the top of the YAML files, with dashes as on the command line."""
    return {key.replace("_", "-") for key in yaml_keys() if "." not in key}


@cache
def recipe_options(name: str = "*.sh") -> frozenset[str]:
    """The options that the head of a recipe describes, or of all of them, besides those of run.sh."""
    heads = (file.read_text(encoding="utf-8").partition("\nset ")[0] for file in (REPOSITORY / "recipes").glob(name))
    return frozenset(option for head in heads for option in re.findall(r"^#   --([a-z0-9-]+)", head, re.MULTILINE))


@cache
def command_options(name: str) -> frozenset[str] | None:
    """The options of `python -m local.NAME`; None where there is no such command."""
    file = next((file for file in (LOCAL / f"{name}.py", LOCAL / name / "__main__.py") if file.is_file()), None)
    if file is None:
        return None
    text = file.read_text(encoding="utf-8")
    own = {option.replace("_", "-") for option in re.findall(r"add_argument\(\s*\"--([\w-]+)\"", text)}
    return frozenset(own | {"help"} | (set() if own else run_options()))


def unknown_names(text: str) -> list[str]:
    """The commands, options and files that a page names and that do not exist."""
    wrong = []
    commands = {file.stem for file in LOCAL.glob("*.py")} | {"benchmark"}
    anywhere = run_options() | override_names() | recipe_options() | {"help"}
    anywhere |= {option for name in commands for option in command_options(name) or ()}
    for line in code_of(text):
        words = words_of(line)
        at = words.index("--") if "--" in words else len(words)
        module = next((word for word in words if re.fullmatch(r"local\.[a-z_.]+", word)), "")
        if words[:2] == ["python", "-m"]:
            known = command_options(module.removeprefix("local."))
            if known is None and words[2] != "local.NAME":
                wrong.append(line)
            unknown = options_among(words) - (known or {"help"})
        elif words and re.fullmatch(r"\./run\.sh|(recipes|tests)/\w+\.sh", words[0]):
            of_recipe = recipe_options(words[0].rpartition("/")[2]) if words[0].startswith("recipes/") else set()
            unknown = options_among(words[:at]) - run_options() - of_recipe - {"help"}
            unknown |= options_among(words[at:]) - override_names()
        elif words and words[0].startswith("--"):
            unknown = options_among(words) - anywhere
        else:
            unknown = set()
        wrong += [f"--{name} in {line}" for name in sorted(unknown)]
        if line.startswith(PLACES) and not re.search(r"[<*{ ]|NAME", line) and not (REPOSITORY / line).exists():
            wrong.append(line)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_what_a_page_names_exists(page):
    assert not unknown_names(page.read_text(encoding="utf-8"))


def test_names_that_do_not_exist_are_found():
    text = "`python -m local.absent`, `local/absent.py`, `--absent 3`\n\n"
    text += "    ./run.sh --jobs 2 --way x -- --alpha 1 --beta 2\n    python -m local.export RUN --int8 --int4\n"
    assert sorted(line.partition(" in ")[0] for line in unknown_names(text)) == [
        *("--absent", "--beta", "--int4", "--way", "local/absent.py", "python -m local.absent")
    ]


def test_files_that_the_code_names_exist():
    named = re.compile(r"(?<![\w/.$<-])(?:local|tests|hparams|recipes)/[\w/]+\.(?:py|sh|yaml)\b")
    files = [path for path in of_the_project() if path.suffix != ".md" and "tests" not in path.parts]
    found = {
        name: path.name
        for path in [*files, REPOSITORY / ".ci" / "run"]
        for name in named.findall(path.read_text(encoding="utf-8"))
    }
    assert len(found) > 20 and not {name: by for name, by in found.items() if not (REPOSITORY / name).exists()}


def first_cells(text: str, head: str) -> list[str]:
    """The first cells of all rows of the tables whose head begins with that word, without their backquotes."""
    cells, inside = [], False
    for line in text.splitlines():
        cell = line.split("|")[1].strip() if line.startswith("|") else ""
        if cell == head:
            inside = True
        elif not cell:
            inside = False
        elif inside and not cell.startswith("---"):
            cells.append(cell)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_every_key_of_the_yaml_files_has_its_line():
    keys = first_cells((REPOSITORY / "hparams" / "README.md").read_text(encoding="utf-8"), "key")
    assert set(keys) == yaml_keys() and {"alpha", "slurm.partition", "encoder.model_type"} <= set(keys)
    assert not [key for key, count in Counter(keys).items() if count > 1]


def test_every_wing_has_its_line():
    text = (LOCAL / "README.md").read_text(encoding="utf-8")
    folders = {path.name for path in LOCAL.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert Counter(first_cells(text, "wing")) == Counter(folders - {"benchmark"})
    commands = text.partition("| command |")[2].partition("\n\n")[0]
    assert {*(path.stem for path in LOCAL.glob("*.py")), "benchmark"} - {"__init__"} <= set(
        re.findall(r"`(\w+)`", commands)
    )


def test_the_map_says_who_may_import_whom():
    tree = ast.parse((REPOSITORY / "tests" / "whole" / "test_house.py").read_text(encoding="utf-8"))
    tables = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ALLOWED"
    ]
    allowed = {wing: set(others.split()) for wing, others in ast.literal_eval(tables[0]).items()}
    rows = [line.split("|") for line in (LOCAL / "README.md").read_text(encoding="utf-8").splitlines()]
    said = {row[1].strip(" `"): row[3].strip() for row in rows if len(row) == 5}
    for wing, others in allowed.items():
        expected = (
            allowed.keys() - {wing, *said[wing].split()[2:]} if "all but" in said[wing] else set(said[wing].split())
        )
        assert expected == others, wing


# The picture


def test_the_picture_is_a_small_png():
    content = PICTURE.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR" and content[-8:-4] == b"IEND"
    assert len(content) < MOST_BYTES and min(width, height) > 300
    assert "](results/report.png)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


# Words


def avoided_words(text: str, avoided: tuple[str, ...]) -> list[str]:
    """The words of a text that this project avoids, also where a line or a comment breaks them."""
    text = re.sub(r"\s*\n[\s#]*", " ", text)
    found = [re.search(rf"(?<![\w-]){word.replace(' ', '[ _-]')}(?![\w-])", text, re.IGNORECASE) for word in avoided]
    return [each[0] for each in found if each]


def of_the_project() -> list[Path]:
    """The pages, the code and the YAML files, without this one."""
    shallow = [
        path for room in ROOMS for kind in ("md", "sh", "yaml") for path in (REPOSITORY / room).glob(f"*.{kind}")
    ]
    deep = [
        path
        for room in ("local", "tests")
        for kind in ("py", "sh", "j2")
        for path in (REPOSITORY / room).rglob(f"*.{kind}")
    ]
    return sorted({*shallow, *deep} - {Path(__file__).resolve()})


def test_words_that_this_project_avoids_do_not_occur():
    found = {
        str(path.relative_to(REPOSITORY)): words
        for path in of_the_project()
        if (words := avoided_words(path.read_text(encoding="utf-8"), ON_PAGES if path.suffix == ".md" else IN_CODE))
    }
    assert not found, "\n".join(f"{path}: {', '.join(words)}" for path, words in found.items())


def test_words_to_avoid_are_found():
    assert avoided_words("# of the Test\n#   part, test_part", IN_CODE) == ["Test part"]
    assert avoided_words("test partition, preprocessor, understands", ON_PAGES) == []
    assert avoided_words("a processor stands", ON_PAGES) == ["processor", "stands"]
    assert len(of_the_project()) > 150
