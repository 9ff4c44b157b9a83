"""Numbered SQL files, applied in order and once each by `adapters.postgres.migrate`.

A file that was released is never edited: its checksum is kept in the database, and a replica refuses to start on a
mismatch. The first line `-- no transaction` has its statements run one by one outside a transaction.
"""
