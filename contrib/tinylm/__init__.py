"""Trainer of the tiny models that ship in node/models: from nothing to a measured GGUF on two CPU cores."""
