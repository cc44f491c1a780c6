"""env.json is read, or named as what cannot be read."""

from __future__ import annotations

import pytest

from local.core import starts
from local.core.errors import UserError


@pytest.mark.parametrize("text", [None, "{", "[]", '{"device": "cpu"}', '{"commit": "a", "resumed": [1]}'])
def test_env_json_that_cannot_be_read_is_named(tmp_path, text):
    run = tmp_path / "seed1" / "1A"
    run.mkdir(parents=True)
    (run / "train.json").touch()
    if text:
        (run / "env.json").write_text(text)
    with pytest.raises(UserError, match=r"1A/env\.json cannot be read"):
        starts.read(run)


def test_a_run_without_it_has_not_begun(tmp_path):
    with pytest.raises(UserError, match="its training has not begun"):
        starts.read(tmp_path)


@pytest.mark.parametrize(
    ("resumed", "commit"), [([], "aaa"), (["aaa"], "aaa"), (["bbb"], "aaa+"), (["bbb", "aaa"], "aaa+")]
)
def test_a_commit_says_where_there_were_several(resumed, commit):
    assert starts.commit_of({"commit": "aaa", "resumed": [{"commit": each} for each in resumed]}) == commit
