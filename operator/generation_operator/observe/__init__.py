"""The read side: the cluster as last seen, and signals from Prometheus."""
