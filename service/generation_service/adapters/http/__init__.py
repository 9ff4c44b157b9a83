"""The HTTP surface: handlers only translate between requests and the engine."""
