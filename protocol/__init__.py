"""The Tutti protocol, pure: bytes and time in, effects out."""
