"""The majority class: posteriors are the shares of the classes in the training set."""

import math

import torch
from system_checks import assert_alone_as_in_a_batch, sounds, targets, trained_parameters

from local.config import hparams
from local.systems.majority import MajorityClass


def labelled(*batches: list[int]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    return [(torch.zeros(len(each), 800), torch.full((len(each),), 800), torch.tensor(each)) for each in batches]


@torch.no_grad()
def test_posteriors_are_the_shares_of_the_classes():
    system = MajorityClass(4).eval()
    system.solve(labelled([0, 1, 1], [1, 2]), labelled([3, 3, 3]))
    logits = system(torch.randn(3, 500), torch.tensor([500, 3, 1])).emotion
    expected = torch.tensor([0.2, 0.6, 0.2, 0.0]).expand(3, -1)
    torch.testing.assert_close(logits.softmax(1), expected, atol=1e-6, rtol=0)
    assert logits.argmax(1).tolist() == [1, 1, 1] and logits.isfinite().all()
    assert trained_parameters(system) == 4 and system.solves
    # Its cross-entropy on the training set is the entropy of the shares.
    found = system.losses(system(torch.zeros(5, 9), torch.full((5,), 9)), targets(torch.tensor([0, 1, 1, 1, 2])))
    assert math.isclose(found.total, -0.6 * math.log(0.6) - 0.4 * math.log(0.2), rel_tol=1e-6)


def test_what_is_said_makes_no_difference():
    assert_alone_as_in_a_batch(MajorityClass(4), sounds(0.5, 0.1, 0.01))


def test_the_yaml_asks_for_no_epoch():
    values = hparams.build(hparams.resolve(hparams.RUNNING.parent / "table3" / "majority.yaml", {}))
    assert values["epochs"] == 0 and isinstance(values["system"], MajorityClass)
