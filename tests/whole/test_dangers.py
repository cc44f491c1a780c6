"""The code has nothing dangerous, no script evaluates text, and CI audits the lock."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from paths import REPOSITORY

# ---------------------------------------------------------------- the house itself

# exec, pickle, eval, yaml.load, shell=True, os.system and the like, templates that escape nothing; and beside them
# what ruff does not know of.
RULES = "S102,S301,S302,S307,S506,S602,S604,S605,S701,S704"
MORE = r"trust_remote_code=(?!False)|torch\.load\((?!.*weights_only=True)|allow_pickle=(?!False)|read_pickle"
DANGEROUS = """
eval(x)
exec(x)
os.system(x)
os.popen(x)
subprocess.run(x, shell=True)
pickle.load(x)
pickle.loads(x)
yaml.load(x)
yaml.load(x, Loader=yaml.Loader)
torch.load(x)
torch.load(x, weights_only=False)
np.load(x, allow_pickle=True)
AutoModel.from_pretrained(x, trust_remote_code=True)
jinja2.Environment()
markupsafe.Markup('a' + x)
"""


def dangers(*folders: Path) -> set[str]:
    """What is dangerous in the Python of some folders, as `file: rule`."""
    command = ["ruff", "check", "--isolated", "--ignore-noqa", "--select", RULES, "--output-format", "json", *folders]
    found = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    files = [path for folder in folders for path in folder.rglob("*.py")]
    more = {f"{path.name}: {at[0]}" for path in files for at in re.finditer(MORE, path.read_text(encoding="utf-8"))}
    return {f"{Path(each['filename']).name}: {each['code']}" for each in found} | more


@pytest.mark.parametrize("line", DANGEROUS.split("\n")[1:-1])
def test_what_is_dangerous_is_seen(tmp_path, line):
    imports = "import os, pickle, subprocess, jinja2, markupsafe, torch, yaml"
    (tmp_path / "a.py").write_text(f"{imports}\n\n\ndef f(x):\n    {line}  # noqa\n")
    assert dangers(tmp_path)


def test_the_code_has_nothing_dangerous():
    # The card is Markdown, which jinja2 cannot escape: local.pages.markdown does. Of the report, pictures and lines are
    # escaped where they are made.
    known = {"templates.py: S701", "card.py: S704", "markdown.py: S704", "report.py: S704", "table3.py: S704"}
    known |= {"stress_page.py: S704"}
    assert dangers(REPOSITORY / "local", REPOSITORY / ".ci") <= known


def test_no_script_evaluates_text():
    scripts = [*REPOSITORY.glob("*.sh"), *REPOSITORY.glob("*/*.sh"), REPOSITORY / ".ci" / "run"]
    assert len(scripts) > 8
    for script in scripts:
        code = re.sub(r"(^|\s)#.*", "", script.read_text(encoding="utf-8"))
        assert not re.search(r"\b(eval|(ba)?sh -c)\b", code), script


# ---------------------------------------------------------------- what CI asks of the lock


@pytest.fixture
def audit(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run .ci/audit.py with services that answer so; its exit code, and what it says."""
    place = importlib.util.spec_from_file_location("audit", REPOSITORY / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)

    def run(**services: str | Exception) -> tuple[int, str]:
        def answer(command: list[str], **_) -> SimpleNamespace:
            told = services[command[command.index("--vulnerability-service") + 1]]
            if isinstance(told, Exception):
                raise told
            return SimpleNamespace(stdout=told)

        monkeypatch.setattr(subprocess, "run", answer)
        try:
            module.main()
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


SOUND = {"name": "torch", "version": "2.11.0", "vulns": []}
UNKNOWN = {"name": "pip", "skip_reason": "not found"}
FOUND = {"name": "numpy", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}


def answers(*packages: dict) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_finding_fails_the_audit(audit):
    code, said = audit(pypi=answers(SOUND, FOUND))
    assert code == 1 and "numpy 1.0: PYSEC-1, mended in 1.1" in said


def test_a_sound_lock_passes_and_what_was_not_audited_is_named(audit):
    code, said = audit(pypi=answers(SOUND, UNKNOWN))
    assert code == 0 and "1 packages audited, 0 findings" in said and "not known to it: pip" in said


def test_a_mirror_without_advisories_is_no_clean_bill(audit):
    code, said = audit(pypi=answers(UNKNOWN), osv=answers(FOUND))
    assert code == 1 and "PYSEC-1" in said


@pytest.mark.parametrize("nothing", ["", answers(UNKNOWN), subprocess.TimeoutExpired("pip_audit", 1)])
def test_without_advisories_the_audit_says_that_it_was_skipped(audit, nothing):
    code, said = audit(pypi=nothing, osv=nothing)
    assert code == 0 and "skipped: " in said and "audited, " not in said
