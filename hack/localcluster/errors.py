"""The one exception of this package: a sentence for the person at the terminal."""


class LocalClusterError(Exception):
    """Something the user can act on; the message says what is wrong and what to do, without a traceback."""
