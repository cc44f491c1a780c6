"""wav2vec 2.0 and HuBERT without transformers: the same names, the same numbers, the same keys."""

from __future__ import annotations

import pytest
import torch

from local.encoders import build_encoder, description, plain
from local.encoders.load import _FAMILIES, _declared

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
SMALL |= {"conv_dim": [16, 24], "conv_kernel": [10, 3], "conv_stride": [5, 2]}
SMALL |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}
KINDS = {
    "group": {"model_type": "wav2vec2"},
    "layer": {"model_type": "wav2vec2", "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    "unmasked": {"model_type": "wav2vec2", "mask_time_prob": 0.0, "feat_extract_activation": "relu"},
    "hubert": {"model_type": "hubert", "num_conv_pos_embeddings": 7},
    "hubert-layer": {"model_type": "hubert", "feat_proj_layer_norm": False, "do_stable_layer_norm": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_transformers_bit_for_bit(kind):
    torch.manual_seed(1)
    encoder = build_encoder(SMALL | KINDS[kind], {"do_normalize": kind != "layer"}).eval()
    config, preprocessor = description(encoder)
    assert plain.takes(config, preprocessor)
    ours = plain.build(config, preprocessor).eval()
    ours.load_state_dict(encoder.state_dict())  # all names and shapes are the same
    wavs, lengths = 0.1 * torch.randn(2, 3000), torch.tensor([3000, 1777])
    for autocast in (False, True):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            (expected, n_frames), (found, n_found) = encoder(wavs, lengths), ours(wavs, lengths)
        assert n_frames.tolist() == n_found.tolist()
        assert all(torch.equal(found[row, :n], expected[row, :n]) for row, n in enumerate(n_frames.tolist()))


@pytest.mark.parametrize("kind", plain.OWN)
def test_its_keys_are_those_of_transformers(kind):
    assert plain.USED | plain.WITHOUT_EFFECT | plain.OWN[kind] == _declared(_FAMILIES[kind].config)


@pytest.mark.parametrize(
    "change",
    [{"hidden_act": "silu"}, {"add_adapter": True}, {"auto_map": {}}, {"model_type": "wavlm"}, {"conv_dim": None}],
)
def test_what_it_does_not_have_is_left_to_transformers(change):
    config, preprocessor = description(build_encoder(SMALL | KINDS["group"], {}))
    changed = {key: value for key, value in (config | change).items() if value is not None}
    assert plain.takes(config, preprocessor) and not plain.takes(changed, preprocessor)
