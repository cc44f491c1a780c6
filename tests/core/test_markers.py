"""Markers: a step is done when its inputs are the same and its outputs are whole."""

import json

import pytest

from local.core import markers
from local.core.errors import UserError
from local.core.files import digest
from local.core.markers import Marker

INPUTS = {"table": "0a1b", "valid": "none", "lr": 5e-5, "seeds": (1, 2), "device": None}


@pytest.fixture
def made(tmp_path):
    """A step that made two files, and its marker."""
    (tmp_path / "sub").mkdir()
    for name in ("one.csv", "sub/two.csv"):
        (tmp_path / name).write_text(f"contents of {name} ż")
    Marker(tmp_path / "step.json", INPUTS).write([tmp_path / "one.csv", tmp_path / "sub" / "two.csv"], epoch=3)
    return tmp_path / "step.json"


def test_contents(made):
    assert json.loads(made.read_text()) == markers.read(made)
    assert markers.read(made) == {
        "inputs": INPUTS | {"seeds": [1, 2]},
        "outputs": {"one.csv": digest("contents of one.csv ż"), "sub/two.csv": digest("contents of sub/two.csv ż")},
        "facts": {"epoch": 3},
    }


def test_done_only_with_a_marker(made):
    assert Marker(made, INPUTS).is_done("stage 1")
    assert not Marker(made.with_name("other.json"), INPUTS).is_done("stage 1")
    assert not Marker(made, INPUTS).is_done("stage 1", force=True)


def test_a_moved_folder_is_still_done(made, tmp_path):
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert Marker(moved / made.name, INPUTS).is_done("stage 1")


@pytest.mark.parametrize("change", ["gone", "cut", "grown", "another of the same length"])
def test_an_output_that_is_not_whole_is_made_again(made, change):
    path = made.parent / "sub" / "two.csv"
    old = path.read_text()
    path.write_text({"cut": old[:-1], "grown": old + " "}.get(change, "X" + old[1:]))
    if change == "gone":
        path.unlink()
    assert not Marker(made, INPUTS).is_done("stage 1")
    path.write_text(old)
    assert Marker(made, INPUTS).is_done("stage 1")


@pytest.mark.parametrize(
    ("inputs", "named", "not_named"),
    [
        (INPUTS | {"lr": 1e-5}, ["lr (5e-05 -> 1e-05)"], ["valid"]),
        (INPUTS | {"table": "ffff", "valid": "partner"}, ["table (0a1b -> ffff)", "valid (none -> partner)"], ["lr"]),
        (INPUTS | {"alpha": 0.1}, ["alpha (None -> 0.1)"], ["lr"]),
        ({"table": "0a1b"}, ["valid (none -> None)", "lr"], ["table"]),
    ],
)
def test_other_inputs_are_refused_by_name(made, inputs, named, not_named):
    marker = Marker(made, inputs)
    with pytest.raises(UserError) as refusal:
        marker.is_done("stage 1")
    assert all(word in refusal.value.what for word in ["stage 1", str(made.parent), *named])
    differences = refusal.value.what.partition("other inputs:")[2]
    assert not any(word in differences for word in not_named)
    assert "--name" in refusal.value.remedy and "--force true" in refusal.value.remedy
    assert not marker.is_done("stage 1", force=True)
    assert not marker.is_done("stage 1", redo=True)


@pytest.mark.parametrize(("now", "differs"), [("ffff", True), ("0a1b", False), (None, False)])
def test_an_input_that_is_not_always_known_differs_only_where_it_is(tmp_path, now, differs):
    path = tmp_path / "step.json"
    Marker(path, {"lr": 1}).write()  # as an earlier version did
    assert not Marker(path, {"lr": 1, "weights": "0a1b"}, if_known=["weights"]).changes(markers.read(path)["inputs"])
    Marker(path, {"lr": 1, "weights": "0a1b"}, if_known=["weights"]).write()
    marker = Marker(path, {"lr": 1} | ({"weights": now} if now else {}), if_known=["weights"])
    assert marker.changes(markers.read(path)["inputs"]) == (["weights (0a1b -> ffff)"] if differs else [])
    assert marker.is_done("stage 1", redo=True) == (not differs)


def test_a_missing_marker_and_a_damaged_one_are_refused_differently(made):
    with pytest.raises(UserError, match=r"absent\.json is missing"):
        markers.read(made.with_name("absent.json"))
    made.write_text(made.read_text()[:-9])
    with pytest.raises(UserError, match=r"step\.json is damaged"):
        Marker(made, INPUTS).is_done("stage 1")


def test_an_output_that_cannot_be_read_leaves_no_marker(tmp_path):
    with pytest.raises(FileNotFoundError):
        Marker(tmp_path / "step.json", INPUTS).write([tmp_path / "absent.csv"])
    assert list(tmp_path.iterdir()) == []
