"""Known vulnerabilities of the packages in the locks, as PyPI tells them, or OSV where PyPI does not.

    python .ci/audit.py

A finding fails, unless it is accepted below. Where neither service answers, that is said, and nothing fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

ACCEPTED: dict[str, str] = {}  # IDs of findings that may stay, and why
SERVICES = ("pypi", "osv")
PATIENCE = 180  # seconds for one of them
LOCKS = ["requirements.txt", "requirements-lora.txt"]


def audited(service: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The packages that a service knows, with their `vulns`, and the names of those that it does not."""
    accepted = [f"--ignore-vuln={name}" for name in ACCEPTED]
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format", "json"]
    command += ["--timeout", "10", *(f"--requirement={lock}" for lock in LOCKS)]
    command += ["--vulnerability-service", service, *accepted]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
        packages = json.loads(told)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):  # pip-audit's own troubles come without JSON
        packages = []
    # A mirror of PyPI that has no advisories answers too: it knows no package.
    known = [package for package in packages if "vulns" in package]
    return known, [package["name"] for package in packages if "vulns" not in package]


def main() -> None:
    """Ask one service after the other."""
    for service in SERVICES:
        known, unknown = audited(service)
        if known:
            break
        print(f"{service}: no answer")
    else:
        print("skipped: the advisory services cannot be reached, and the locks were not audited")
        return
    found = [(package, finding) for package in known for finding in package["vulns"]]
    for package, finding in found:
        mended = ", ".join(finding["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {finding['id']}, mended in {mended}")
    print(f"{service}: {len(known)} packages audited, {len(found)} findings, {len(ACCEPTED)} accepted")
    if unknown:
        print(f"not known to it: {' '.join(unknown)}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
