"""From one key to a converged resource: parse, children, apply what changed, status."""
