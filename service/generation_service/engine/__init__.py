"""Admission, running and draining. Knows only ports: no HTTP, no metrics library, no settings."""
