"""Room `selinux`: the model as CIL, TE modules and a kernel policy; decisions on a compiled policy."""
