"""How other autoscalers compute their replica counts: arithmetic only, proven against their originals."""
