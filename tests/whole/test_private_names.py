"""Private names of other libraries that `local/` needs: after an upgrade this test names the one that is gone."""

from __future__ import annotations

import ast
import ctypes
import importlib
import operator
import pkgutil
from functools import cache

import pytest
from paths import REPOSITORY

import local

# Where nothing public serves: the name, and where it is to be found.
LISTED = {
    "_attn_implementation": "transformers:PretrainedConfig._attn_implementation",
    "_compute_mask_indices": "transformers.models.wav2vec2.modeling_wav2vec2:_compute_mask_indices",
    "_conv_forward": "torch.nn:Conv1d._conv_forward",
    "_foreach_add_": "torch:_foreach_add_",
    "_get_feat_extract_output_lengths": "transformers:Wav2Vec2Model._get_feat_extract_output_lengths",
    "_identity": "filelock._identity:owner_is_stale",
    "_is_avx512_bf16_supported": "torch.cpu:_is_avx512_bf16_supported",
    "_is_mkldnn_bf16_supported": "torch:ops.mkldnn._is_mkldnn_bf16_supported",
    "_is_amx_tile_supported": "torch.cpu:_is_amx_tile_supported",
    "_linear_pointwise": "torch:ops.mkldnn._linear_pointwise",
    "_python_dispatch": "torch.utils._python_dispatch:TorchDispatchMode",
    "_pytree": "torch.utils._pytree:tree_leaves",
    "_save_checkpoint_metafile": "speechbrain.utils.checkpoints:Checkpointer._save_checkpoint_metafile",
    "_softmax_backward_data": "torch:_softmax_backward_data",
    "_weight_norm": "torch:_weight_norm",
}
DOCUMENTED = {"_asdict", "_exit", "_fields", "_handle", "_replace"}  # by Python, underscore or not
GENERATED = {"_abc_impl", "_backward_cls"}  # in every class of their kind


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def modules() -> list:
    """Every module of the project."""
    names = [each.name for each in pkgutil.walk_packages(local.__path__, "local.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def used_from_elsewhere() -> set[str]:
    """The private names that are imported, or are attributes that no file of the project defines."""
    imported, attributes, defined = set(), set(), set()
    for path in (REPOSITORY / "local").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.module.startswith("local"):
                imported |= {*node.module.split("."), *(alias.name for alias in node.names)}
            elif isinstance(node, ast.Attribute):
                (defined if isinstance(node.ctx, ast.Store) else attributes).add(node.attr)
            elif isinstance(node, ast.FunctionDef):
                defined.add(node.name)
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
                defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in imported | attributes - defined if is_private(name)}


def overridden() -> set[str]:
    """The private names of other libraries' classes that a class of the project defines again."""
    classes = {each for module in modules() for each in vars(module).values() if isinstance(each, type)}
    return {
        name
        for each in classes
        if each.__module__.startswith("local.")
        for base in each.__mro__[1:]
        if not base.__module__.startswith("local.")
        for name in vars(each).keys() & vars(base).keys()
        if is_private(name)
    }


def test_no_other_private_name_is_used():
    assert used_from_elsewhere() | overridden() <= {*LISTED, *DOCUMENTED, *GENERATED}


@pytest.mark.parametrize("name", LISTED)
def test_a_private_name_is_still_there(name):
    module, _, path = LISTED[name].partition(":")
    operator.attrgetter(path)(importlib.import_module(module))


def test_a_library_of_c_has_a_handle():
    assert isinstance(ctypes.CDLL(None)._handle, int)
