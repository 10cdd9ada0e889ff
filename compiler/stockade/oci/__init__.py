"""Room `oci`: the model as runtime-spec parts: capabilities, namespaces, cgroup, mounts, paths, limits."""
