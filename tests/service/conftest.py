"""The database of this folder's tests."""

from contract.postgres_server import postgres

__all__ = ["postgres"]
