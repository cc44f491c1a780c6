"""The other experiments: why one is not drawn with the report's own, and what is drawn of it."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd

from local.pages.siblings import _other_differences, alpha_curves


def test_a_path_of_this_machine_is_not_on_the_page():
    own, other = (
        SimpleNamespace(valid="partner", values={"encoder": path, "asr_encoder": name})
        for path, name in (("/home/me/base", "a/b"), ("/home/me/large", "a/c"))
    )
    assert _other_differences(own, other, []) == "asr_encoder is a/c, not a/b; encoder is large, not base"


def test_a_line_ends_where_the_first_run_ends():
    """Of three runs, one of which `patience` has ended after two epochs; a mean over those that go on would rise."""
    rows = [(1, "a", 0.5, 2), (2, "a", 0.7, 3), (1, "b", 0.9, 5)]
    epochs = [(seed, fold, epoch + 1, wa, 0.3) for seed, fold, wa, count in rows for epoch in range(count)]
    epochs = pd.DataFrame(epochs, columns=["seed", "fold", "epoch", "valid_wa", "valid_wer"])
    own = {"valid": "partner", "values": {"alpha": 0.1}, "emotions_trained": True, "name": "own", "epochs": epochs}
    curves = alpha_curves(SimpleNamespace(**own, folds=pd.DataFrame({"fold": ["a", "b"]})), [])
    assert curves.accuracy["alpha 0.1"].round(9).to_dict() == {1: 0.75, 2: 0.75}  # (0.6 + 0.9) / 2
    assert [*curves.wer["alpha 0.1"].index] == [1, 2]
