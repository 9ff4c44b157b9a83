"""A real Kubernetes on this machine, without Docker: for the tests and the demo.

Three shapes, in order of preference: a kind cluster (Docker), a real node in namespaces of its own (root on Linux), or
a control plane with KWOK's fake nodes (any user). Nothing outside the state folder and one named network link is
touched.
"""
