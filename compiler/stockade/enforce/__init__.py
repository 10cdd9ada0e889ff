"""Room `enforce`: every container gets its type's confinement: runtime wrapper, verify hook, NRI plugin."""
