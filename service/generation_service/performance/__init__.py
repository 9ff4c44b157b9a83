"""How the service says how it is doing. Measures; never decides."""
