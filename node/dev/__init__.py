"""`tutti dev`: a whole network of real node processes on loopback, in one command and a throw-away home."""
