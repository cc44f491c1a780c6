"""How much memory there is: control groups of both versions, Slurm, a GPU."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import torch

from local.core import free_memory
from local.core.free_memory import Room, cgroup_memory, slurm_limit

GB = 1e9


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_the_lowest_limit_of_the_groups_counts(tmp_path):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    assert cgroup_memory(groups, root) is None  # no Linux
    write(groups, "0::/user/job")
    assert cgroup_memory(groups, root) is None
    write(root / "user" / "job" / "memory.max", "max")
    assert cgroup_memory(groups, root) is None
    write(root / "user" / "memory.max", 3_000_000)
    write(root / "memory.max", 5_000_000)
    assert cgroup_memory(groups, root) == (3_000_000, 3_000_000)
    write(root.parent / "memory.max", 1)  # not of a group
    write(root / "other" / "memory.max", 1)
    write(root / "user" / "job" / "memory.max", 2_000_000)
    assert cgroup_memory(groups, root) == (2_000_000, 2_000_000)
    # What is used is not free, but for what is kept of files and can go; of the outer group others use more.
    write(root / "user" / "job" / "memory.current", 900_000)
    write(root / "user" / "job" / "memory.stat", "anon 500000\nfile 400000\ninactive_file 250000\nactive_file 50000")
    assert cgroup_memory(groups, root) == (2_000_000, 1_400_000)
    write(root / "user" / "memory.current", 2_900_000)
    assert cgroup_memory(groups, root) == (2_000_000, 100_000)
    write(root / "user" / "memory.current", 3_100_000)
    assert cgroup_memory(groups, root) == (2_000_000, 0)


def test_a_limit_of_the_first_version_also_as_seen_from_inside_a_container(tmp_path):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    write(groups, "9:cpu:/a\n4:memory:/docker/c0ffee\n0::/")
    write(root / "memory" / "memory.limit_in_bytes", (1 << 63) - 4096)  # none
    assert cgroup_memory(groups, root) is None
    write(root / "memory" / "memory.limit_in_bytes", 7_000_000)  # the group's own folder is not visible there
    assert cgroup_memory(groups, root) == (7_000_000, 7_000_000)
    write(root / "memory" / "memory.usage_in_bytes", 5_000_000)
    write(root / "memory" / "memory.stat", "inactive_file 1\ntotal_inactive_file 1000000")
    assert cgroup_memory(groups, root) == (7_000_000, 3_000_000)


def test_what_slurm_gives():
    assert slurm_limit({"SLURM_MEM_PER_NODE": "2048"}) == 2 * 2**30
    assert slurm_limit({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}) == 2 * 2**30
    for known in ({}, {"SLURM_MEM_PER_CPU": "512"}, {"SLURM_MEM_PER_NODE": "0"}):
        assert slurm_limit(known) is None


def test_the_smallest_of_all_is_what_there_is(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * GB, available=3 * GB))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=2 * GB))
    monkeypatch.setattr(free_memory, "cgroup_memory", lambda *_: None)
    monkeypatch.setattr(free_memory, "slurm_limit", lambda _: None)
    assert free_memory.room("cpu") == Room(10 * GB, 3 * GB, "this machine")
    monkeypatch.setattr(free_memory, "slurm_limit", lambda _: 9 * GB)
    monkeypatch.setattr(free_memory, "cgroup_memory", lambda *_: (2 * GB, 1 * GB))
    assert free_memory.room("cpu") == Room(4 * GB, 1 * GB, "this control group (cgroup, container)")  # with the swap
    monkeypatch.setattr(free_memory, "slurm_limit", lambda _: 3 * GB)
    assert free_memory.room("cpu") == Room(3 * GB, 1 * GB, "this Slurm job")  # the group has no more
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * GB, 80 * GB))
    assert free_memory.room("cuda:1") == Room(80 * GB, 60 * GB, "GPU cuda:1")
