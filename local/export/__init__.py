"""From a trained fold to a folder that loads in four ways.

`__main__` is the command; `huggingface` writes the folders that plain transformers loads, `onnx` the
file that onnxruntime runs, `card` the README.
"""
