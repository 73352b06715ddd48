"""The Tutti simulator: drives `protocol` under virtual time."""
