"""Several corpora as one: names, paths and facts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from local import corpora
from local.core.errors import UserError
from local.core.markers import Marker
from local.corpora import manifest, several


def made(folder: Path, name: str, root: str, rows: list[dict[str, str]], **facts) -> Path:
    """A corpus as stage 0 leaves it."""
    path = folder / name
    path.mkdir()
    empty = dict.fromkeys(manifest.COLUMNS, "") | {"duration": 1.5}
    table = pd.DataFrame([empty | {"wav": f"$data_root/{row['ID']}.wav"} | row for row in rows])
    manifest.write(path / "all.csv", table)
    told = {"source": f"the corpus {name}", "root": root, "rejected": 0, "warnings": [], "notes": [], "faults": []}
    Marker(path / "all.json", {}).write([path / "all.csv"], **told | facts)
    return path


def two(folder: Path) -> dict[str, Path]:
    a = [{"ID": "x", "spk_id": "01", "emo": "ang", "wrd": "ŻE"}, {"ID": "y", "spk_id": "02", "emo": "sad"}]
    b = [{"ID": "x", "spk_id": "01", "session": "1", "recording": "r", "emo": "ang", "split": "test"}]
    return {
        "a": made(folder, "a", "/data/corpora/a", a, rejected=2, faults=["x.wav: is empty"], notes=["one"]),
        "b": made(folder, "b", "/data/b", b, warnings=["loud"]),
    }


def test_names_and_paths(tmp_path):
    joined = several.join(two(tmp_path))
    table = joined.table.set_index("ID")
    assert (joined.name, joined.root) == ("a+b", Path("/data"))
    assert table.index.tolist() == ["a_x", "a_y", "b_x"]
    assert table["spk_id"].tolist() == ["a_01", "a_02", "b_01"]
    assert table[["session", "recording"]].to_numpy().tolist() == [["", ""], ["", ""], ["b_1", "b_r"]]
    assert table["corpus"].tolist() == ["a", "a", "b"] and table["split"].tolist() == ["", "", "test"]
    files = manifest.resolve(table["wav"], joined.root).tolist()
    assert files == ["/data/corpora/a/x.wav", "/data/corpora/a/y.wav", "/data/b/x.wav"]
    assert table["duration"].tolist() == [1.5] * 3 and table["wrd"].tolist() == ["ŻE", "", ""]


def test_roots_that_have_only_the_disk_in_common(tmp_path):
    folders = {
        name: made(tmp_path, name, root, [{"ID": "x", "emo": "ang"}]) for name, root in (("a", "/one"), ("b", "/two/x"))
    }
    joined = several.join(folders)
    assert manifest.resolve(joined.table["wav"], joined.root).tolist() == ["/one/x.wav", "/two/x/x.wav"]


def test_what_was_said_of_each_is_kept(tmp_path):
    joined = several.join(two(tmp_path))
    assert joined.source == "a: the corpus a; b: the corpus b"
    assert ([str(fault) for fault in joined.faults], joined.rejected) == (["a: x.wav: is empty"], 2)
    assert (joined.warnings, joined.notes) == (["b: loud"], ["a: one"])


def test_ratings_of_several_scales_are_warned_of(tmp_path):
    rows = [{"ID": name, "emo": "ang", "wrd": "", "arousal": "3"} for name in "xy"]
    folders = {"a": made(tmp_path, "a", "/a", [row | {"valence": "2"} for row in rows])}
    folders |= {"b": made(tmp_path, "b", "/b", rows), "c": made(tmp_path, "c", "/c", rows[:1])}
    (said,) = several.join(folders).warnings
    assert said.startswith("arousal: a and b and c have each its own scale; a head of it learns them as one, ")


def test_one_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="corpus c is not there yet") as error:
        several.join(folders := two(tmp_path) | {"c": tmp_path / "c"})
    assert error.value.remedy.endswith("./run.sh --corpus csv --data PATH --stop-stage 0")
    (tmp_path / "c@4class").mkdir()
    (tmp_path / "c@4class/all.csv").touch()
    with pytest.raises(UserError, match="corpus c is not there with its own labels, only as c@4class") as error:
        several.join(folders)
    assert "without --labels" in error.value.remedy and "mapped when all are together" in error.value.remedy


def test_ids_that_would_be_one(tmp_path):
    folders = {
        name: made(tmp_path, name, f"/{name}", [{"ID": ID, "emo": "ang"}]) for name, ID in (("a", "b_x"), ("a_b", "x"))
    }
    with pytest.raises(UserError, match="a_b_x"):
        several.join(folders)


def test_the_card_names_both():
    about = corpora.about("nemo+emodb@4class")
    assert about.language is None and "nemo: nEMO is under CC BY-NC-SA" in about.terms
    assert about.labels["bor"] == "boredom" and about.labels["sur"] == "surprise"
    assert corpora.about("nemo@4class") == corpora.about("nemo")
