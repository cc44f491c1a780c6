"""config.json of a model folder: which folders are one, and what is refused of it. (Each key: test_model_folder.py.)"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from local.core import model_json
from local.core.errors import UserError

CONFIG = {
    **{"format": "ser-mtl 1", "system": "mtl", "settings": {}, "encoder": {"model_type": "wav2vec2"}},
    **{"preprocessor": {"do_normalize": True}, "labels": ["ang", "neu"], "tokens": ["<pad>", "A"], "sizes": [2]},
    **{"max_seconds": 3, "provenance": {}},
}


def write(folder: Path, **changes: object) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    return folder


def test_what_is_read_is_what_was_written(tmp_path):
    assert model_json.read(write(tmp_path)) == CONFIG | {"max_seconds": 3.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(CONFIG), True),
        (json.dumps(CONFIG | {"format": "ser-mtl 2"}), True),  # which `read` refuses by name
        (json.dumps(CONFIG | {"labels": 3}), True),
        ('{"model_type": "wav2vec2"}', False),
        ('{"format": null}', False),
        ("[1]", False),
        ("{", False),
        ("[" * 100_000, False),
    ],
)
def test_which_folder_is_one(tmp_path, text, expected):
    (tmp_path / "config.json").write_text(text)
    assert model_json.is_model(str(tmp_path)) is model_json.is_model(tmp_path) is expected


def test_what_is_no_folder_is_none(tmp_path):
    assert not any(map(model_json.is_model, (None, {"model_type": "wav2vec2"}, "facebook/wav2vec2-base", tmp_path)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "ser-mtl 2"}, 'its "format" is not "ser-mtl 1"'),
        ({"preprocessor": {"sampling_rate": 8000}}, "it is a model of audio at 8000 Hz, and all audio here has 16000"),
        ({"sizes": [3]}, '"sizes" is not the number of "tokens"'),
    ],
)
def test_what_is_refused_is_named(tmp_path, changes, said):
    with pytest.raises(UserError) as refusal:
        model_json.read(write(tmp_path, **changes))
    assert refusal.value.what == f"{tmp_path / 'config.json'}: {said}"


@pytest.mark.parametrize("closed", ["", "config.json"])
def test_what_may_not_be_read_is_not_said_to_be_missing_or_broken(closed):
    with tempfile.TemporaryDirectory() as name:  # anybody can reach it, unlike pytest's
        os.chmod(name, 0o755)
        folder = Path(name, "model")
        folder.mkdir()
        write(folder)
        (folder / closed).chmod(0)
        me = os.geteuid()
        if me == 0:  # who may read all
            os.seteuid(65534)
        try:
            with pytest.raises(UserError) as refusal:
                model_json.read(folder)
        finally:
            os.seteuid(me)
            (folder / closed).chmod(0o700)
        assert refusal.value.what == f"{folder}/config.json: Permission denied"
        assert "let your account read it" in refusal.value.remedy
