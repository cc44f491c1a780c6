"""ResNet-101, against that of transformers with the same weights."""

from __future__ import annotations

import torch
from transformers import ResNetConfig, ResNetForImageClassification

from local.features.resnet import ResNet101


@torch.no_grad()
def test_it_computes_what_transformers_computes_and_has_torchvisions_names():
    torch.manual_seed(1)
    config = ResNetConfig(depths=[3, 4, 23, 3], num_labels=1000)
    theirs, ours = ResNetForImageClassification(config).eval(), ResNet101().eval()
    assert sum(each.numel() for each in ours.parameters()) == 44_549_160
    for name, tensor in theirs.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and "normalization" in name:
            tensor.add_(0.1 * torch.randn_like(tensor))
    # Theirs has the shortcut before the layers of a block, ours after them.
    weights = theirs.state_dict()
    for name in ours.state_dict():
        first, *rest = name.split(".")
        if first == "fc":
            theirs_name = f"classifier.1.{rest[0]}"
        elif first in ("conv1", "bn1"):
            theirs_name = f"resnet.embedder.embedder.{'convolution' if first == 'conv1' else 'normalization'}.{rest[0]}"
        else:
            block, layer, *last = rest
            within = f"layer.{int(layer[-1]) - 1}" if layer != "downsample" else "shortcut"
            kind = (
                "normalization"
                if layer.startswith("bn") or (layer == "downsample" and last[0] == "1")
                else "convolution"
            )
            theirs_name = f"resnet.encoder.stages.{int(first[-1]) - 1}.layers.{block}.{within}.{kind}.{last[-1]}"
        ours.state_dict()[name].copy_(weights.pop(theirs_name))
    assert not weights
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images).logits, rtol=1e-4, atol=1e-4)
    assert {"conv1.weight", "layer3.22.bn3.running_mean", "layer4.0.downsample.1.num_batches_tracked"} < {
        *ours.state_dict()
    }
