"""Keeps answers near (in this process) and for everybody (in Redis), and never serves one that was revoked."""
