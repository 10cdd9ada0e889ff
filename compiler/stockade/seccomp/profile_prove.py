"""Proves that the policy read from a profile is what a runtime makes of that profile."""

from __future__ import annotations

from dataclasses import replace

from stockade.model.position import Position
from stockade.model.seccomp import KILLED, SyscallRule
from stockade.model.syscalls import ARCHITECTURES
from stockade.seccomp.profile import Profile
from stockade.seccomp.runtime import prove_oci


def prove_profile(profile: Profile) -> None:
    """Return if the policy answers as runc and crun with the profile do; raise Disagreement with an example.

    Exact over all calls and arguments, but for what libseccomp leaves undefined: the calls of `conflicts` and of
    `made_up`, where the policy has the strictest answer and the default.
    """
    torn = {conflict.call for conflict in profile.conflicts}
    rules = [rule for rule in profile.policy.rules if rule.call not in torn]
    # What libseccomp makes up is put out of the question by a rule of the same answer on both sides.
    rules += [SyscallRule(call, KILLED, (), "", Position("", 1, 1)) for call in profile.made_up]
    settled = [{"names": list(profile.made_up), "action": "SCMP_ACT_KILL_PROCESS"}] if profile.made_up else []
    for host, said in profile.oci.items():
        listed = [
            {**entry, "names": [name for name in entry["names"] if name not in torn]} for entry in said["syscalls"]
        ]
        archs = [arch for arch in profile.archs if profile.host(arch) == host]
        covered = [ARCHITECTURES[arch].oci for arch in archs]
        shown = {**said, "architectures": covered, "syscalls": [*listed, *settled]}
        prove_oci(replace(profile.policy, rules=tuple(rules)), shown, archs)
