"""The precisions that training, validation and use may have, by the names of SpeechBrain."""

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
