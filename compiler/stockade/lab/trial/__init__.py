"""Every action tried in every container type on a real kernel, layers taken away, and held against predictions."""
