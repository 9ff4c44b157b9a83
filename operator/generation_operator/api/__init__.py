"""What a resource is: its fields, its names on the wire, its conditions. Imports nothing of ours and does no I/O."""
