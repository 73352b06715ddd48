"""Writes specs/vectors: what any implementation must compute, and what it must refuse, as JSON (specs/00-conventions.md)."""
