"""For load tests and fault tests of whoever uses the service; nothing of the service itself imports this."""
