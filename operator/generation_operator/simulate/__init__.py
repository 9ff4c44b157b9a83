"""Replay traffic against a model of a service and see what each autoscaler would have done."""
