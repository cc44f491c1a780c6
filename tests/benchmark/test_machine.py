"""The machine that is measured: products within their time, what others took, and its description."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from local.benchmark import machine

X86 = "processor : 0\nmodel name : Some CPU\nflags : fpu avx avx2 {}\n\nprocessor : 1\nflags : fpu\n"


@pytest.mark.parametrize(("rate", "largest"), [(0.5e9, 256), (2e11, 2048), (1e15, 8192)])
def test_matrix_products_are_timed_at_sizes_that_the_machine_is_fast_enough_for(rate, largest, monkeypatch):
    """Without bf16 hardware, at 0.5 GFLOP/s, a product takes 67 ms at 256, and would take half a second at 512."""
    clock, sizes = [0.0], []

    class Matrix:
        def __init__(self, size: int) -> None:
            self.size = size

        def to(self, dtype: torch.dtype) -> Matrix:
            return self

        def __matmul__(self, other: Matrix) -> None:
            sizes.append(self.size)
            clock[0] += 2 * self.size**3 / rate

    monkeypatch.setattr(machine.torch, "randn", lambda size, *_, device: Matrix(size))
    monkeypatch.setattr(machine, "now", lambda device: clock[0])
    assert machine.gemm("cpu", torch.bfloat16) == pytest.approx(rate)
    assert sizes[-1] == max(sizes) == largest and sizes.count(largest) == 6 and clock[0] < 1.01


def test_a_cpu_is_described_by_what_it_computes_with():
    kinds = {"": "AVX2", "avx512f": "AVX2 AVX-512", "avx512f avx512_bf16": "AVX2 AVX-512 bf16"}
    kinds["avx512f avx512_bf16 amx_bf16 amx_tile"] = "AVX2 AVX-512 bf16 AMX"
    assert {flags: machine.cpu_kind(X86.format(flags)) for flags in kinds} == kinds
    assert machine.cpu_kind("") == torch.backends.cpu.get_cpu_capability()  # macOS
    name, kind, governor, threads = machine.describe("cpu").rsplit(", ", 3)
    assert name and kind and governor.startswith("governor ") and threads == f"{torch.get_num_threads()} threads"


@pytest.mark.parametrize(
    ("aten", "onednn", "mkl", "said"),
    [
        ("AVX512", True, "", "AVX2 AVX-512 bf16 AMX"),
        ("AVX2", False, "AVX2", "AVX2 alone (held to it; the CPU has AVX-512 bf16 AMX)"),
        ("AVX2", True, "", "AVX2 AVX-512 bf16 AMX (ATen held to less)"),
        ("AVX2", False, "", "AVX2 AVX-512 bf16 AMX (ATen and oneDNN held to less)"),
    ],
)
def test_what_pytorch_is_held_to_is_said(aten, onednn, mkl, said, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: aten)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", mkl)
    assert machine.used_kind("AVX2 AVX-512 bf16 AMX") == said
    assert machine.used_kind("AVX2") == "AVX2" and machine.used_kind("NEON bf16") == "NEON bf16"


@pytest.mark.slow  # it loads torch anew
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variables are for x86")
def test_the_variables_that_hold_pytorch_to_avx2():
    say = "from local.benchmark import machine; from local.data.device import resolve_precision as resolve; "
    say += "print(machine.used_kind('AVX2 AVX-512 bf16')); "
    say += "print(resolve({'precision': 'auto', 'eval_precision': 'fp32', 'device': 'cpu'}))"
    held = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    out = subprocess.run([sys.executable, "-c", say], env=os.environ | held, capture_output=True, text=True).stdout
    assert out.splitlines() == ["AVX2 alone (held to it; the CPU has AVX-512 bf16)", "fp32"]


def test_what_others_took_is_what_was_busy_and_not_ours(monkeypatch):
    """Two of three CPUs are ours; a child ended and was waited for, another runs. Of 8 s, 1 and 5 were busy."""

    def times(busy: float, **more: float) -> SimpleNamespace:
        class Times(tuple):
            user, idle, guest = busy, 100.0, more.get("guest", 0.0)

        return Times((Times.user, Times.idle, Times.guest))

    def process(user: float, children: float) -> SimpleNamespace:
        used = SimpleNamespace(user=user, system=0.25, children_user=children, children_system=0.0)
        return SimpleNamespace(cpu_times=lambda: used)

    def set_up(busy: list[float], own: float, child: float) -> None:
        me = process(own, 1.0)
        me.cpu_affinity, me.children = lambda: [0, 2], lambda recursive: [process(child, 0.0)]
        monkeypatch.setattr(machine.psutil, "Process", lambda: me)
        # The time of a guest is in that of users as well.
        monkeypatch.setattr(machine.psutil, "cpu_times", lambda percpu: [times(each, guest=0.5) for each in busy])

    monkeypatch.setattr(machine.time, "perf_counter", lambda: 10.0)
    set_up([20.0, 0.0, 30.0], own=2.0, child=3.0)
    before = machine.look()
    assert before == machine.Look(10.0, 50.0, 6.5, 2)
    monkeypatch.setattr(machine.time, "perf_counter", lambda: 14.0)
    set_up([21.0, 99.0, 35.0], own=2.5, child=4.0)
    assert machine.others(before, machine.look()) == pytest.approx((6 - 1.5) / 8)
    assert machine.others(before, before._replace(clock=11.0, own=9.0)) == 0.0  # no more than the error of the clocks
    monkeypatch.setattr(machine.psutil, "Process", lambda: SimpleNamespace())  # macOS has no affinity
    assert machine.look() is None and machine.others(before, None) is None
