"""eGeMAPS: against opensmile itself where it is installed; that its absence is told by name."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
from paths import REPOSITORY
from system_checks import sounds

from local.core.errors import UserError
from local.features import functionals
from local.features.functionals import Functionals


def test_without_opensmile_it_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    monkeypatch.setattr(functionals, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"opensmile.* is not installed.* commercial") as error:
        Functionals()
    assert f"pip install opensmile=={functionals.VERSION}" in error.value.remedy


def test_it_is_an_extra_and_not_in_the_lock():
    project, lock = ((REPOSITORY / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "requirements.txt"))
    (version,) = re.findall(r"^egemaps = \[\"opensmile==(.*)\"\]", project, re.MULTILINE)
    assert version == functionals.VERSION and project.count("opensmile") == 1 and "opensmile" not in lock


def test_rows_are_those_of_opensmile():
    opensmile = pytest.importorskip("opensmile")
    front_end = Functionals()
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    for wav in sounds(0.5, 0.3):
        rows, n_rows = front_end(wav[None], torch.tensor([len(wav)]))
        np.testing.assert_array_equal(rows[0], smile.process_signal(wav.numpy(), 16_000))
        assert rows.shape == (1, 1, front_end.width) and n_rows.tolist() == [1]
    for samples in (1, 160, 1600):
        rows, _ = front_end(sounds(samples / 16_000)[0][None], torch.tensor([samples]))
        assert rows.isfinite().all() and rows.abs().max() > 0
