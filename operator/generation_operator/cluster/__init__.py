"""The write side: one small port to the Kubernetes API and its adapters."""
