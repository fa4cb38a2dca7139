"""The commands: they put sources and destinations together."""
