"""Fuzzing: made-up bytes for every parser of what peers send, and for whole cores."""
