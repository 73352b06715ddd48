"""Evaluations of the vote, of audits and of policies; each prints what it measured and how."""
