"""What should exist: pure builders from a parsed spec to plain manifests."""
