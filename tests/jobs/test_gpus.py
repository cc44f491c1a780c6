"""What nvidia-smi says, in the forms in which it says it: by a stand-in on the PATH that answers as it would."""

from __future__ import annotations

from pathlib import Path

import pytest
from nvidia_smi import StandIn

from local.jobs.gpus import GpuSlots, Memory, gpus, memory


# Answers each field of a query from state.json, less or more what the files held/<uuid>/<pid> say that processes hold
# (they change it while they have the lock).
@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path / "smi", monkeypatch)


A, B = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932e4a1-56b0-0f0c-b4a1-8b17e8f2c1de"

# ---------------------------------------------------------------- which GPUs there are


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),  # Slurm's word for none
        ("3", ["3"]),
        ("0, 2,-1,1", ["0", "2"]),  # the CUDA programming guide's example
        (f"{A},GPU-5a", [A, "GPU-5a"]),
        ("MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0", ["MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0"]),
    ],
)
def test_cuda_visible_devices_names_them_up_to_the_first_that_is_none(smi, monkeypatch, named, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus() == found
    assert not smi.asked()


def test_otherwise_they_are_those_that_nvidia_smi_lists(smi, monkeypatch):
    assert gpus() == []
    smi.add(A, 81559)
    smi.add(B, 81559)
    assert gpus() == ["0", "1"]
    parts = (
        "  MIG 3g.40gb     Device  0: (UUID: MIG-b3061c09-2a4c)\n  MIG 1g.10gb     Device  1: (UUID: MIG-6e95ef19-51)"
    )
    first, second = smi.state["list"].splitlines()
    smi.write(list=f"{first}\n{parts}\n{second}")
    assert gpus() == ["MIG-b3061c09-2a4c", "MIG-6e95ef19-51", "1"]
    for trouble in (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
        "NVIDIA driver is installed and running.",
        "No devices were found",
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161",
    ):
        smi.write(list="", gpus=[], trouble=trouble)
        assert gpus() == [] and memory(["0"]) == [None]
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpus() == [] and memory(["0"]) == [None]


# ---------------------------------------------------------------- what they hold


def test_memory_is_found_by_index_by_uuid_and_by_its_beginning(smi):
    smi.add(A, 81559, 5)
    smi.add(B, 81559, 50000, **{"mig.mode.current": "[N/A]", "memory.free": 31000})  # the driver keeps 559
    rows = [(A, 114687, 19135), (B, 7, 120), (A, 88, "[N/A]"), (A, "[Not Found]", 4)]
    smi.write(apps=[dict(zip(("gpu_uuid", "pid", "used_memory"), row, strict=True)) for row in rows])
    first, second = Memory(5, 81554, {114687: 19135}), Memory(50000, 31000, {7: 120})
    assert memory(["1", "0"]) == [second, first]
    assert memory([A, B]) == [first, second]
    assert memory(["GPU-8932f", "GPU-8932e"]) == [first, second]
    # Of two GPUs' beginnings neither is meant; nor are those that are not there, or that nvidia-smi knows no memory of.
    assert memory(["GPU-8932", "2", "GPU-5a", "MIG-8932f937", "0"]) == [None, None, None, None, first]


@pytest.mark.parametrize(
    "fields",
    [
        {"memory.used": "[N/A]", "memory.free": "[N/A]"},  # a GB10, whose memory is the machine's
        {
            "memory.used": "[Insufficient Permissions]",
            "memory.free": "[Insufficient Permissions]",
        },  # MIG in a container
        {"memory.free": "[Unknown Error]"},
        {"mig.mode.current": "Enabled"},  # the figures are of the whole, of which CUDA takes a part
    ],
)
def test_a_field_that_is_missing_does_not_hide_the_others(smi, fields):
    smi.add(A, 1000, 10, **fields)
    smi.add(B, 2000, 20)
    smi.write(trouble="Unable to determine the device handle for GPU0000:4E:00.0: Unknown Error")
    assert memory(["0", "1"]) == [None, Memory(20, 1980, {})]


def test_a_driver_that_lacks_a_field_gives_nothing(smi):
    smi.add(A, 1000)
    smi.write(gpus=[{name: value for name, value in smi.state["gpus"][0].items() if name != "mig.mode.current"}])
    assert memory(["0"]) == [None]


# ---------------------------------------------------------------- places


def test_a_place_has_the_environment_of_its_gpu(smi):
    by_index = GpuSlots(["0", "1"], 2)
    assert by_index.environment(1) == {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert GpuSlots([], 2).environment(0) == {}


@pytest.mark.parametrize(("names", "count"), [([], 1), ([], 3), (["0"], 1), (["0", "1", "2"], 2), (["0", "1"], 2)])
def test_where_no_gpu_is_shared_nothing_is_asked(smi, names, count):
    places = GpuSlots(names, count)
    taken = []
    while (place := places.choose(set())) is not None:
        places.enter(place, 100 + len(taken))
        taken.append(place)
    assert len(taken) == count and sorted(taken) == (list(range(count)) if names else [0] * count)
    places.leave(taken[0], 100, False)
    assert places.choose(set()) == taken[0]
    assert not smi.asked() and not places.unknown


def test_figures_that_are_missing_once_stay_as_they_were(smi, monkeypatch):
    """A driver that hangs once: the launcher goes by the last figures."""
    monkeypatch.setattr("local.jobs.gpus.LOOK", 0)
    smi.add(A, 1000)
    places = GpuSlots(["0"], 5)
    (held := smi.folder / "held" / A).mkdir(parents=True)
    places.enter(0, 11)
    assert places.choose(set()) is None  # no job has shown what it needs
    (held / "11").write_text("300")
    assert places.choose({11}) == 0 and places.need == 300
    told = dict(smi.state)
    smi.write(trouble="driver trouble", gpus=[])
    places.enter(0, 12)
    assert places.choose({11}) == 0  # 700 are free, 330 yet to be taken
    places.enter(0, 13)
    assert places.choose({11}) is None  # 40, as the two may take 330 each
    (held / "12").write_text("320")
    assert places.choose({11, 12}) is None and places.need == 300  # it has shown its need, which was not seen
    smi.write(**told)
    assert places.choose({11, 12}) is None and places.need == 320


def test_where_pids_are_shown_another_users_growth_is_not_counted_as_need(smi, monkeypatch):
    monkeypatch.setattr("local.jobs.gpus.LOOK", 0)
    smi.add(A, 10_000, 1_000)
    places = GpuSlots(["0"], 5)
    (held := smi.folder / "held" / A).mkdir(parents=True)
    places.enter(0, 11)
    (held / "11").write_text("300")
    (held / "999").write_text("5000")  # another user's
    assert places.choose(set()) is None
    (held / "11").unlink()  # it is about to end, and holds nothing any more
    (held / "999").write_text("8000")
    assert places.choose(set()) is None
    places.leave(0, 11, True)
    assert places.need == 300


def test_where_they_are_not_it_is_shared_out(smi, monkeypatch):
    monkeypatch.setattr("local.jobs.gpus.LOOK", 0)
    smi.add(A, 10_000, 1_000)
    smi.write(shows_pids=False)
    places = GpuSlots(["0"], 5)
    (held := smi.folder / "held" / A).mkdir(parents=True)
    for pid, mib in ((11, 300), (12, 500)):
        places.enter(0, pid)
        (held / str(pid)).write_text(str(mib))
    places.choose({11})
    assert places.need == 400
