"""The Tutti node daemon: drives `protocol` with libp2p, llama.cpp and SQLite."""
