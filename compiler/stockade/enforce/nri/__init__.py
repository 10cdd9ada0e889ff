"""The NRI plugin: its wire format, its two framings, and what it decides about a container that is being created."""
