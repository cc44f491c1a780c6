"""The machine that is measured: what it is, how fast it multiplies matrices, and what else runs on it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from local.data.device import use_precision
from local.training.environment import cpu_name

# What a CPU computes with, by the flags that Linux gives it; the last counts where it has several of a kind.
FLAGS = {"AVX2": ["avx2"], "AVX-512": ["avx512f"], "NEON": ["asimd"], "SVE": ["sve"]}
FLAGS |= {"bf16": ["avx512_bf16", "amx_bf16", "bf16"], "AMX": ["amx_tile"]}
GEMM_SIZES, GEMM_SECONDS = (128, 256, 512, 1024, 2048, 4096, 8192), 0.8


def describe(device: str) -> str:
    """Name the device: a GPU, the CPU and its kind, the governor of its clock, and the threads."""
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    info, clock = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    governor = clock.read_text(encoding="utf-8").strip() if clock.is_file() else "–"
    kind = used_kind(cpu_kind(info.read_text(encoding="utf-8") if info.is_file() else ""))
    return f"{gpu}{cpu_name()}, {kind}, governor {governor}, {torch.get_num_threads()} threads"


def cpu_kind(info: str) -> str:
    """What a CPU computes with, from Linux's cpuinfo; without that, what PyTorch uses.

    >>> cpu_kind("flags : fpu avx2 avx512f avx512_bf16"), cpu_kind("Features : fp asimd bf16")
    ('AVX2 AVX-512 bf16', 'NEON bf16')
    """
    lines = (line.partition(":") for line in info.splitlines())
    flags = next((set(value.split()) for key, _, value in lines if key.strip() in ("flags", "Features")), set())
    kinds = [kind for kind, names in FLAGS.items() if flags & {*names}]
    return " ".join(kinds) or torch.backends.cpu.get_cpu_capability()


def used_kind(kind: str) -> str:
    """The kind of a CPU with AVX-512, and that environment variables hold PyTorch to less, if they do."""
    if "AVX-512" not in kind:
        return kind
    uses = torch.backends.cpu.get_cpu_capability()
    held = {"ATen": "AVX512" not in uses, "oneDNN": not torch.ops.mkldnn._is_mkldnn_bf16_supported()}
    held["MKL"] = os.environ.get("MKL_ENABLE_INSTRUCTIONS") in ("SSE4_2", "AVX", "AVX2")
    if all(held.values()):
        return f"{uses} alone (held to it; the CPU has {kind[kind.index('AVX-512') :]})"
    names = " and ".join(name for name, less in held.items() if less)
    return f"{kind} ({names} held to less)" if names else kind


def gemm(device: str, dtype: torch.dtype) -> float:
    """Multiply square matrices: operations per second, the best of five at the largest size that there is time for.

    All of it takes about `GEMM_SECONDS`, also where a CPU has no hardware for the type: it then does a thousandth of
    what others do.
    """
    use_precision("fp32")
    ends = None
    for size in GEMM_SIZES:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        a @ b  # the first product of a size prepares kernels, and the very first the device
        ends = ends or now(device) + GEMM_SECONDS
        seconds: list[float] = []
        while not seconds or (len(seconds) < 5 and now(device) < ends):
            began = now(device)
            a @ b
            seconds.append(now(device) - began)
        if now(device) + 2 * 8 * min(seconds) > ends:  # of the next size, one that prepares and one that counts
            break
    return 2 * size**3 / min(seconds)


def now(device: str) -> float:
    """Seconds, when what was begun on a device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


class Look(NamedTuple):
    """Seconds at a time: of the clock, and of CPUs, those that this process may use."""

    clock: float
    busy: float  # with whatever process, and with another virtual machine
    own: float  # of this process, its children and theirs
    cpus: int


def look() -> Look | None:
    """Look at what the CPUs have done so far; None where a system does not say which of them are ours, as macOS."""
    me = psutil.Process()
    if not hasattr(me, "cpu_affinity"):
        return None
    times, allowed = psutil.cpu_times(percpu=True), me.cpu_affinity()
    mine = [times[cpu] for cpu in allowed if cpu < len(times)] or times
    idle = ("idle", "iowait", "guest", "guest_nice")  # the time of guests is in that of users as well
    busy = sum(sum(each) - sum(getattr(each, name, 0.0) for name in idle) for each in mine)
    return Look(time.perf_counter(), busy, _own_seconds(me), len(mine))


def _own_seconds(me: psutil.Process) -> float:
    """CPU seconds of a process and all below it, also of those that have ended and were waited for."""
    seconds = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.Error:  # it has just ended, and counts for its parent
            continue
        seconds += used.user + used.system + used.children_user + used.children_system
    return seconds


def others(before: Look | None, after: Look | None) -> float | None:
    """The share of the CPUs' time that other processes took between two looks, from 0 to 1.

    >>> others(Look(10.0, 50.0, 7.0, 2), Look(20.0, 66.0, 17.0, 2))  # 16 s of 20 were busy, 10 with us
    0.3
    """
    if before is None or after is None:
        return None
    theirs = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, theirs / ((after.clock - before.clock) * after.cpus)))
