"""Updates and how they are cut, against all ways to cut and against what a plan must hold."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from local.data.batches import Limits, UpdateSampler, cut, even_shares, sorted_batches

WIDE = Limits(8, 60, 1)


def ways(n: int) -> list[list[int]]:
    """All ways to cut n things in order: the sizes of the pieces."""
    result = []
    for breaks in product((False, True), repeat=n - 1):
        sizes, size = [], 1
        for broken in breaks:
            if broken:
                sizes.append(size)
                size = 0
            size += 1
        result.append([*sizes, size])
    return result


def cost(durations: np.ndarray, sizes: list[int], limits: Limits) -> float:
    """What a cut costs, infinite where it breaks a limit."""
    total, end = 0.0, 0
    for size in sizes:
        end += size
        padded = size * durations[end - 1]
        seconds = durations[end - size : end].sum() if limits.packed else padded
        if size > limits.size or (seconds > limits.seconds and size > 1):
            return np.inf
        total += padded + limits.overhead
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "limits",
    [
        *(WIDE, Limits(3, 1e9, 0.3), Limits(8, 12, 5), Limits(8, 25, 0), Limits(1, 60, 1)),
        *(Limits(8, 25, 1, packed=True), Limits(8, 25, 1e9, packed=True), Limits(3, 12, 1e9, packed=True)),
    ],
)
def test_no_cut_is_cheaper(seed, limits):
    durations = np.sort(np.random.default_rng(seed).lognormal(1.3, 0.7, 9))
    slices = cut(durations, limits)
    assert [index for part in slices for index in range(9)[part]] == list(range(9))
    sizes = [part.stop - part.start for part in slices]
    assert cost(durations, sizes, limits) == pytest.approx(min(cost(durations, way, limits) for way in ways(9)))


def test_cuts_worked_by_hand():
    durations = np.array([1.0, 1.0, 1.0, 10.0])
    # Together 4 x 10 + 1 = 41; the long one alone 3 + 10 + 2 = 15.
    assert cut(durations, Limits(8, 100, 1)) == [slice(0, 3), slice(3, 4)]
    # A pass that costs 30 s: together 70, separately 73.
    assert cut(durations, Limits(8, 100, 30)) == [slice(0, 4)]
    # No more than 2 s at a time; the long one alone, as it must pass somehow.
    sizes = [part.stop - part.start for part in cut(durations, Limits(8, 2, 30))]
    assert sorted(sizes[:2]) == [1, 2] and sizes[2] == 1
    # One behind the other they have 13 s.
    assert cut(durations, Limits(8, 13, 30, packed=True)) == [slice(0, 4)]
    assert cut(durations, Limits(8, 12, 30, packed=True)) == [slice(0, 3), slice(3, 4)]
    assert cut(np.array([]), WIDE) == []


def test_memory_is_bounded_by_the_seconds_and_not_by_the_longest():
    durations = np.random.default_rng(4).lognormal(1.3, 0.8, 500)
    for seconds in (15.0, 40.0, 120.0):
        padded, packed = (UpdateSampler(durations, 16, Limits(16, seconds, 1e9, packed), seed=1) for packed in (0, 1))
        for part in padded.plan:
            assert len(part.indices) == 1 or len(part.indices) * durations[part.indices].max() <= seconds
        for part in packed.plan:
            assert len(part.indices) == 1 or durations[part.indices].sum() <= seconds
        assert len(packed.plan) < len(padded.plan)


@pytest.mark.parametrize(("n", "batch_size", "size"), [(23, 8, 8), (23, 8, 3), (24, 8, 1), (5, 8, 16), (1, 1, 1)])
def test_an_epoch_has_every_utterance_once(n, batch_size, size):
    durations = np.random.default_rng(6).uniform(0.5, 20, n)
    sampler = UpdateSampler(durations, batch_size, Limits(size, 60, 1), seed=1)
    assert sorted(index for indices in sampler for index in indices) == list(range(n))
    assert len(sampler) == len(list(sampler)) == len(sampler.plan)
    assert sum(part.ends_update for part in sampler.plan) == sampler.updates_per_epoch == -(-n // batch_size)
    update: list[int] = []
    shares: list[float] = []
    for part in sampler.plan:
        assert 0 < len(part.indices) <= size
        update += part.indices
        shares.append(part.share)
        if part.ends_update:
            assert len(update) <= batch_size and sum(shares) == pytest.approx(1)
            assert (np.diff(durations[update]) >= 0).all()  # micro-batches of like lengths
            update, shares = [], []
    assert update == []


@pytest.mark.parametrize(("n", "batch_size", "world_size"), [(23, 8, 2), (16, 8, 4), (17, 8, 3), (9, 2, 4)])
def test_several_processes_share_the_updates_of_one(n, batch_size, world_size):
    """In step, each utterance once; the mean of their gradients, each utterance's counted by share, is the update's."""
    durations = np.random.default_rng(7).uniform(0.5, 20, n)
    alone = updates(UpdateSampler(durations, batch_size, Limits(8, 60, 1), seed=1))
    shared = [
        updates(UpdateSampler(durations, batch_size, Limits(8, 60, 1), 1, r, world_size)) for r in range(world_size)
    ]
    assert {len(of_rank) for of_rank in shared} == {len(alone)}
    for whole, *parts in zip(alone, *shared, strict=True):
        weight = np.zeros(n)
        for part in parts:
            assert part  # every process has a step to take
            for index, share in part.items():
                weight[index] += share / world_size
        expected = np.zeros(n)
        expected[list(whole)] = list(whole.values())
        assert weight == pytest.approx(expected) and weight.sum() == pytest.approx(1)


def test_the_longest_utterance_of_an_update_is_each_process_s_in_turn():
    durations = np.arange(1.0, 33.0)
    samplers = [UpdateSampler(durations, 8, Limits(8, 1e9, 1), 1, rank, 4) for rank in range(4)]
    longest = []
    for parts in zip(*map(updates, samplers), strict=True):
        longest.append(int(np.argmax([max(durations[list(part)]) for part in parts])))
    assert sorted(longest) == [0, 1, 2, 3]


def updates(sampler: UpdateSampler) -> list[dict[int, float]]:
    """The updates of a plan: what each utterance counts for, by index."""
    result: list[dict[int, float]] = [{}]
    for part in sampler.plan:
        result[-1] |= dict.fromkeys(part.indices, part.share / len(part.indices))
        result += [{}] if part.ends_update else []
    assert result.pop() == {}
    return result


def test_the_order_depends_on_seed_and_epoch_alone():
    def orders(seed: int, limits: Limits = WIDE) -> list[list[frozenset[int]]]:
        sampler = UpdateSampler(np.arange(40.0), 4, limits, seed)
        result = []
        for epoch in (1, 2, 3):
            sampler.set_epoch(epoch)
            together, update = [], []
            for part in sampler.plan:
                update += part.indices
                if part.ends_update:
                    together.append(frozenset(update))
                    update = []
            result.append(together)
        return result

    assert orders(1) == orders(1) == orders(1, Limits(1, 60, 1)) == orders(1, Limits(8, 9, 30))
    assert orders(1) != orders(2)
    first, second, third = orders(1)
    assert first != second != third != first


def test_it_goes_on_behind_the_updates_that_are_done():
    sampler = UpdateSampler(np.arange(1.0, 24.0), 8, Limits(3, 60, 1), seed=1)
    for done in range(4):
        sampler.done = done
        assert list(sampler) == [part.indices for part in sampler.plan if part.update > done]
        assert sampler.first == len(sampler.plan) - len(list(sampler))


def padded_share(durations: np.ndarray, batches: list[list[int]]) -> float:
    """The share of padding among all seconds that pass, over batches of utterances."""
    padded = sum(len(batch) * durations[batch].max() for batch in batches)
    return float(1 - sum(durations[batch].sum() for batch in batches) / padded)


def test_little_of_an_update_is_padding_where_a_pass_costs_little():
    """Eight utterances of IEMOCAP's durations in one batch are more than half padding; well cut, a fortieth is."""
    durations = np.random.default_rng(0).lognormal(1.28, 0.68, 4000)
    whole, well = (
        padded_share(durations, list(UpdateSampler(durations, 8, limits, seed=1)))
        for limits in (Limits(8, 1e9, 1e9), Limits(8, 60, 0.3))
    )
    assert whole > 0.5 and well < 0.025


def test_evaluation_takes_each_utterance_once_longest_first():
    durations = np.random.default_rng(2).lognormal(1.3, 0.7, 200)
    batches = sorted_batches(durations, Limits(10**9, 60, 0.3))
    assert sorted(index for batch in batches for index in batch) == list(range(200))
    longest = [durations[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True) and longest[0] == durations.max()
    assert all(len(batch) == 1 or len(batch) * durations[batch].max() <= 60 for batch in batches)
    assert padded_share(durations, batches) < 0.05


@pytest.mark.parametrize(("n", "count", "most"), [(8, 2, 1.05), (32, 4, 1.02), (64, 8, 1.02)])
def test_the_seconds_of_processes_are_even(n, count, most):
    """Durations as IEMOCAP's: log-normal, of 4.5 s on average."""
    draw = np.random.default_rng(7)
    ratios = []
    for _ in range(200):
        durations = np.sort(draw.lognormal(1.3, 0.6, n).clip(0.6, 34))
        shares = even_shares(durations, count)
        assert sorted(index for share in shares for index in share) == list(range(n))
        assert all(share == sorted(share) and share for share in shares)
        seconds = [durations[share].sum() for share in shares]
        # Graham's bound: 4/3 - 1/(3 count) times the best, which is at least the mean and the longest.
        assert max(seconds) <= (4 / 3 - 1 / (3 * count)) * max(
            np.mean(seconds), durations[-1], 2 * durations[-count - 1]
        )
        ratios.append(max(seconds) / np.mean(seconds))
    assert np.mean(ratios) < most
