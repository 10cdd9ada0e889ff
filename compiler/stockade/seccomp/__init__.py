"""Room `seccomp`: the model as decision ranges, classic BPF and OCI JSON; an emulator and the proof of equality."""
