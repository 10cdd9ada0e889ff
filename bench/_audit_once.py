"""One audit as the command makes it, of a host that is a folder; ends with 9 where another process was started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

STARTS = ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "subprocess.Popen")
started: list[str] = []
sys.addaudithook(lambda event, _: started.append(event) if event in STARTS else None)


def main(root: Path, bundle: Path, coverage: str) -> int:
    from _host import magic
    from stockade.audit.expected import from_bundle
    from stockade.audit.facts.collect import collect
    from stockade.audit.facts.host import Host
    from stockade.audit.judge import judge
    from stockade.audit.report.model import Status
    from stockade.audit.report.text import lines
    from stockade.audit.rules.load import chosen, shipped
    from stockade.cli.audit import differences

    every = shipped()
    expected, digest = from_bundle(bundle)
    with Host(str(root), "live", magic(root)) as host:
        facts = collect(host, {name for one in every for name in one.facts}, walk=False, now=int(time.time()))
    if sys.argv[4:]:
        Path(sys.argv[4]).write_text(facts.to_json())
    rules = chosen(every, "fortified")
    report = judge(facts, rules, profile="fortified", expected=expected, compare=differences, bundle=digest)
    said = [line for _, line in lines(report, False)]
    sound = [one for one in report.results if one.rule.startswith(("container-", "selinux-policy-as"))]
    # Filters are asked for by ptrace only, so nothing is known of them here. A folder is no control group: asked for
    # its device programs, the kernel refuses, and the rule must say so.
    wanted = {"container-devices": (Status.ERROR,)}
    failed = [one for one in sound if one.status not in wanted.get(one.rule, (Status.PASS, Status.NOT_APPLICABLE))]
    seen = report.coverage
    if failed or not said or seen is None or f"{seen.judged} of {seen.found}" != coverage:
        print([one.message for one in failed], seen, file=sys.stderr)
        return 1
    if started or os.times().children_user:
        print(f"processes were started: {started}", file=sys.stderr)
        return 9
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
