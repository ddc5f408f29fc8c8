"""Sources of frames, sinks for pictures and results, and drawing. Needs the extra `opencv`."""
