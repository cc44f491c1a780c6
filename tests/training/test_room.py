"""How much memory there is: control groups of both versions, Slurm; what does not fit is refused with a remedy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from local.core.errors import UserError
from local.training import room
from local.training.memory import Need
from local.training.room import Room, cgroup_limit, refuse_too_large, said, slurm_limit

GB = 1e9
VALUES = {"micro_batch_seconds": 60.0, "eval_batch_seconds": 100.0}
VALUES |= {"freeze": False, "freeze_cnn": False, "freeze_layers": 0}


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def test_the_lowest_limit_of_the_groups_counts(tmp_path):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    assert cgroup_limit(groups, root) is None  # no Linux
    write(groups, "0::/user/job")
    assert cgroup_limit(groups, root) is None
    write(root / "user" / "job" / "memory.max", "max")
    assert cgroup_limit(groups, root) is None
    write(root / "user" / "memory.max", 3_000_000)
    write(root / "memory.max", 5_000_000)
    assert cgroup_limit(groups, root) == 3_000_000
    write(root.parent / "memory.max", 1)  # not of a group
    write(root / "other" / "memory.max", 1)
    write(root / "user" / "job" / "memory.max", 2_000_000)
    assert cgroup_limit(groups, root) == 2_000_000


def test_a_limit_of_the_first_version_also_as_seen_from_inside_a_container(tmp_path):
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    write(groups, "9:cpu:/a\n4:memory:/docker/c0ffee\n0::/")
    write(root / "memory" / "memory.limit_in_bytes", (1 << 63) - 4096)  # none
    assert cgroup_limit(groups, root) is None
    write(root / "memory" / "memory.limit_in_bytes", 7_000_000)  # the group's own folder is not visible there
    assert cgroup_limit(groups, root) == 7_000_000


def test_what_slurm_gives():
    assert slurm_limit({"SLURM_MEM_PER_NODE": "2048"}) == 2 * 2**30
    assert slurm_limit({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}) == 2 * 2**30
    for known in ({}, {"SLURM_MEM_PER_CPU": "512"}, {"SLURM_MEM_PER_NODE": "0"}):
        assert slurm_limit(known) is None


def test_the_smallest_of_all_is_what_there_is(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * GB, available=3 * GB))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=2 * GB))
    monkeypatch.setattr(room, "cgroup_limit", lambda *_: None)
    monkeypatch.setattr(room, "slurm_limit", lambda _: None)
    assert room.room("cpu") == Room(10 * GB, 3 * GB, "this machine")
    monkeypatch.setattr(room, "slurm_limit", lambda _: 9 * GB)
    monkeypatch.setattr(room, "cgroup_limit", lambda *_: 2 * GB)
    assert room.room("cpu") == Room(4 * GB, 2 * GB, "this control group (cgroup, container)")  # with the swap
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * GB, 80 * GB))
    assert room.room("cuda:1") == Room(80 * GB, 60 * GB, "GPU cuda:1")


def test_what_fits_to_the_byte_is_not_refused_and_what_does_not_has_its_remedies():
    need, there = Need(1 * GB, 2 * GB, 5 * GB), Room(16 * GB, 9 * GB, "this machine")
    refuse_too_large(need, there, 2, VALUES)
    with pytest.raises(UserError) as caught:
        refuse_too_large(need, there._replace(size=16 * GB - 1), 2, VALUES)
    assert caught.value.what == "2 processes at a time need 16.0 GB of memory at least, and this machine has 16.0"
    assert caught.value.remedy == (
        "take fewer --jobs or --processes; or a smaller --micro_batch_seconds than 60; or "
        "--freeze_cnn true, --freeze_layers N, --freeze true or a smaller --encoder; or another --device or machine"
    )
    with pytest.raises(UserError) as caught:
        refuse_too_large(Need(1 * GB, 9 * GB, None), Room(8 * GB, 1 * GB, "this machine"), 1, {})
    assert caught.value.remedy == "take another --device or machine"  # there is no encoder that could be frozen
    with pytest.raises(UserError) as caught:
        refuse_too_large(Need(9 * GB, 0.0, None), Room(8 * GB, 1 * GB, "GPU cuda:0"), 1, VALUES)
    assert caught.value.what == "a training needs 9.0 GB of memory at least, and GPU cuda:0 has 8.0"
    assert caught.value.remedy == "take another --device or machine"


def test_what_is_said_before_it_starts():
    need, there = Need(1 * GB, 2 * GB, 5 * GB), Room(24 * GB, 20 * GB, "this machine")
    parts = "(1.0 process, 2.0 gradients and optimizer, 5.0 by micro_batch_seconds)"
    assert said(need, there) == f"memory: 10.5 GB predicted {parts}; this machine has 24.0 GB"  # 1 + 2 + 1.5 x 5
    assert said(need, there, 2) == (
        f"memory: 10.5 GB predicted {parts}, 2 at a time; this machine has 24.0 GB, of which only 20.0 are free now: "
        "expect it to be slow, or to be ended"
    )
    assert said(need._replace(training=None), there).startswith("memory: 3.0 GB predicted (1.0 process, 2.0 gradients")
    assert "batches not known" in said(need._replace(training=None), there)
    larger = need._replace(validation=6 * GB)
    assert "6.0 by eval_batch_seconds" in said(larger, there)
    with pytest.raises(UserError) as caught:
        refuse_too_large(larger, there, 3, VALUES)
    assert "a smaller --eval_batch_seconds than 100" in caught.value.remedy
