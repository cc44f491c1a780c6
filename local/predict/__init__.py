"""Emotion and transcript of audio files, line by line: `items` reads, `__main__` analyzes, `lines` writes."""
