"""Workflows kept in Postgres and brought to the replicas by pgqueuer.

All times and ages are the database's: a replica whose clock is wrong changes nothing. Nothing outside this room knows
that there is SQL.
"""
