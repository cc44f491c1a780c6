"""What lies beside a model's weights: its config, and the lines of its card that name a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest

from local.core.errors import UserError
from local.corpora.aliases import named_in
from local.inference.foreign_card import card, is_export, quoted, read_config

CARD = """---
datasets:
- amu-cai/nEMO
tags:
- speech-emotion-recognition
---
Trained with NVIDIA NeMo on IEMOCAP (5,531 turns), RAVDESS and CREMA-D; we thank Tess and the esd team.
Tested on emo-db and iemocap_session5.
"""


@pytest.mark.parametrize(
    ("corpus", "lines"),
    [
        *(("nemo", ["- amu-cai/nEMO"]), ("tess", []), ("esd-all", []), ("savee", []), ("own", []), ("emo", [])),
        *(("ravdess", [CARD.splitlines()[6]]), ("cremad-voted", [CARD.splitlines()[6]])),
        *(
            ("nemo@4class", ["- amu-cai/nEMO"]),
            ("iemocap-improvised", CARD.splitlines()[6:]),
            ("emodb", CARD.splitlines()[7:]),
            ("speech", []),
        ),
    ],
)
def test_a_card_names_a_corpus_by_its_name_alone(tmp_path: Path, corpus, lines):
    (tmp_path / "README.md").write_text(CARD)
    assert named_in(card(str(tmp_path)), [corpus, "own"]) == lines


def test_the_card_of_a_part_of_an_exported_model_is_above_it(tmp_path: Path):
    (tmp_path / "README.md").write_text("of nEMO")
    (tmp_path / "emotion").mkdir()
    assert card(str(tmp_path / "emotion")) == ["of nEMO"]
    assert card(str(tmp_path / "missing")) == []


def test_a_quotation_is_short():
    assert quoted(["  a   b"]) == '"a b"'
    assert quoted(["a", "b", "c", "d", "e"]) == '"a"; "b"; "c" and 2 more lines'
    assert len(quoted(["x" * 1000])) == 202


def test_a_config_is_read_from_a_folder_without_the_hub(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: pytest.fail("the hub was asked"))
    (tmp_path / "config.json").write_text(json.dumps({"format": "ser-mtl 1"}))
    assert is_export(read_config(str(tmp_path))) and not is_export({"model_type": "hubert"})
    for text, said in (("[]", "is no mapping"), ("{", "Expecting"), (None, "No such file")):
        (tmp_path / "config.json").write_text(text) if text else (tmp_path / "config.json").unlink()
        with pytest.raises(UserError, match=said):
            read_config(str(tmp_path))
    for path in ("./none", "/none", "../none", "~/none"):
        with pytest.raises(UserError, match="there is no such folder"):
            read_config(path)


def test_a_name_that_the_hub_does_not_give_is_an_error_of_the_user(monkeypatch):
    def fail(*_: str) -> str:
        raise OSError("no network\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(UserError, match=r"^--model some/one: neither .* can be had: no network$"):
        read_config("some/one")
    assert card("some/one") == []
