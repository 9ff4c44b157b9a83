"""The command line: `gensvc`."""
