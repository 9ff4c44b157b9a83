"""What answers prompts: a backend over HTTP, or a built-in stand-in. All speak the OpenAI chat completions format."""
