"""What does not fit the memory that there is: it is refused with a remedy."""

from __future__ import annotations

import pytest

from local.core.errors import UserError
from local.core.free_memory import Room
from local.training.memory import Need
from local.training.room import refuse_too_large, said

GB = 1e9
VALUES = {"micro_batch_seconds": 60.0, "eval_batch_seconds": 100.0}
VALUES |= {"freeze": False, "freeze_cnn": False, "freeze_layers": 0}


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
