"""Pipelines: frames in, results out, over sessions that are handed in."""
