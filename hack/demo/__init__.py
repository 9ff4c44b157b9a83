"""The main job in five minutes: a service under load that is scaled up and down, explained live."""
