"""The other experiments: why one is not drawn with the report's own."""

from __future__ import annotations

from types import SimpleNamespace

from local.pages.siblings import _other_differences


def test_a_path_of_this_machine_is_not_on_the_page():
    own, other = (
        SimpleNamespace(valid="partner", values={"encoder": path, "asr_encoder": name})
        for path, name in (("/home/me/base", "a/b"), ("/home/me/large", "a/c"))
    )
    assert _other_differences(own, other, []) == "asr_encoder is a/c, not a/b; encoder is large, not base"
