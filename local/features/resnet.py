"""ResNet-101 of He et al., Deep residual learning for image recognition, CVPR 2016, with torchvision's names.

As torchvision has it, a block's stride is that of its 3 x 3 convolution. It is here because torchvision, once it is
installed, is imported by SpeechBrain and lengthens the start of every job by a third; its files of weights fit.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((3, 64, 1), (4, 128, 2), (23, 256, 2), (3, 512, 2))  # blocks, inner channels, stride of the first
EXPANSION = 4  # a block's channels, of its inner ones
CLASSES = 1000  # of ImageNet


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1 beside a shortcut: [B, c_in, H, W] -> [B, 4 c, H / stride, W / stride]."""

    def __init__(self, c_in: int, c: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, stride, padding=1, bias=False), nn.BatchNorm2d(c)
        self.conv3, self.bn3 = nn.Conv2d(c, EXPANSION * c, 1, bias=False), nn.BatchNorm2d(EXPANSION * c)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or c_in != EXPANSION * c:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, EXPANSION * c, 1, stride, bias=False), nn.BatchNorm2d(EXPANSION * c)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNet101(nn.Module):
    """Images [B, 3, H, W], normalised as ImageNet's, to [B, 1000] logits; 44,549,160 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        c_in = 64
        for number, (blocks, c, stride) in enumerate(STAGES, start=1):
            stage = [Bottleneck(c_in, c, stride), *(Bottleneck(EXPANSION * c, c, 1) for _ in range(blocks - 1))]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            c_in = EXPANSION * c
        self.fc = nn.Linear(c_in, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 1000]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))
