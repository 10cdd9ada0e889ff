"""What the plugin answers: each container gets its type's confinement as far as NRI reaches, or is not created.

NRI reaches part of the way only (`features`). What it does not show cannot be judged here, and each decision that is
logged says so; a hook that reads the whole specification later (`verify_hook`) closes that gap.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from . import adjust, features, messages, view
from .session import Log, Refused, StartRefused
from .view import Spec
from .wire import Fields


class Violation(Exception):
    """A specification that a type does not allow, and that cannot be narrowed to it."""


class Judge(Protocol):
    """The core, for one bundle: which type a container is of, and what that type lets it have.

    `cgroup2`: whether limits on this host are those of version 2.
    """

    cgroup2: bool

    def select(self, pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
        """The name of the container's type; raises Violation where there is none."""

    def apply(self, spec: Spec, name: str, pod: Mapping[str, Any]) -> Spec:
        """The view narrowed to the type; raises Violation where it cannot be."""

    def check(self, spec: Spec, name: str, pod: Mapping[str, Any], unseen: Collection[str] = ()) -> list[str]:
        """Every way in which a view is wider than the type, apart from what it does not show."""

    def clamp(self, resources: Spec, name: str) -> Spec:
        """`linux.resources` of an update, narrowed to the type."""

    def seccomp(self, name: str) -> Spec:
        """The type's filter as the specification has it."""

    def is_own_filter(self, path: str, name: str) -> bool:
        """Whether a file holds the type's filter."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the plugin was started.

    `open` lists why containerd would start containers without it, `accept_open` that the operator knows. `verify_hook`
    is a program on the host, with its arguments, that every container gets as createRuntime hook. With
    `replace_runtime_default` the type's filter takes the place of the runtime's default one, which NRI does not show.
    With `dry_run` everything is judged and nothing changed or refused.
    """

    open: tuple[str, ...] = ()
    accept_open: bool = False
    verify_hook: tuple[str, ...] = ()
    replace_runtime_default: bool = False
    dry_run: bool = False


TYPE = "io.stockade.type"
"""The annotation that tells the verify hook, and whoever looks, which type a container is of."""

_UNSHOWN = ("rlimits", "pids", "unified")
"""What containerd 1.7 does not show of a container, though it takes some of it."""

_PROFILES = {messages.RUNTIME_DEFAULT: "the runtime's default filter", messages.LOCALHOST: "a filter of its own"}


class StockadePlugin:
    """Answers one runtime; `configured` says which one that is, once it has asked."""

    def __init__(self, judge: Judge, options: Options, log: Log) -> None:
        self._judge = judge
        self._options = options
        self._log = log
        self._filters: dict[str, tuple[Fields, bytes]] = {}
        self._seen = [0, 0]
        self.configured: features.Runtime | None = None

    def answer(self, method: str, request: Fields) -> Mapping[str, Any]:
        """The response to a request; raises Refused, and StartRefused where this runtime cannot be served."""
        if method == "Configure":
            return self._configure(request)
        if method == "Shutdown" or method == "StateChange":
            return {}
        if self.configured is None:
            raise Refused(f"{method} before Configure")
        if method == "Synchronize":
            return self._synchronize(request, self.configured)
        if method == "CreateContainer":
            return self._create(request, self.configured)
        if method == "UpdateContainer":
            return self._update(request, self.configured)
        return self._validate(request, self.configured)

    def _configure(self, request: Fields) -> Mapping[str, Any]:
        runtime = features.runtime(request.get("runtime_name", ""), request.get("runtime_version", ""))
        events = messages.CREATE_CONTAINER | messages.UPDATE_CONTAINER
        reasons = list(self._options.open)
        if runtime.can("validation"):
            events |= messages.VALIDATE_CONTAINER_ADJUSTMENT
        else:
            since = ".".join(str(part) for part in features.SINCE["validation"])
            reasons.append(
                f"{runtime.name} {runtime.said} creates containers without a plugin that does not answer in time, "
                f"and cannot be told otherwise (containerd {since} can)"
            )
        self._log(
            "configured",
            runtime=f"{runtime.name} {runtime.said}",
            **({} if runtime.known else {"counts_as": ".".join(str(part) for part in runtime.version)}),
            partial=True,
            not_in_this_version=runtime.lacks(),
            not_in_any_version=[] if self._options.verify_hook else list(features.NEVER),
            verify_hook=list(self._options.verify_hook),
            fails_open=reasons,
            dry_run=self._options.dry_run,
        )
        if reasons and not self._options.accept_open:
            raise StartRefused("this host would start containers without the plugin: " + "; ".join(reasons))
        self.configured = runtime
        return {"events": events}

    def _synchronize(self, request: Fields, runtime: features.Runtime) -> Mapping[str, Any]:
        pods = {pod.get("id", ""): pod for pod in request.get("pods", [])}
        for container in request.get("containers", []):
            self._seen[0] += 1
            pod = pods.get(container.get("pod_sandbox_id", ""), {})
            try:
                name = self._judge.select(pod, container)
                unseen = [part for part in _UNSHOWN if part not in container and not runtime.can("pids")]
                findings = self._judge.check(view.spec(container), name, pod, unseen)
            except (Violation, view.ViewError) as error:
                name, findings = "", [str(error)]
            if findings:
                self._seen[1] += 1
                self._log("existing", **_who(pod, container), type=name, wider=findings)
        more = bool(request.get("more"))
        if not more:
            self._log("synchronized", containers=self._seen[0], wider=self._seen[1])
            self._seen = [0, 0]
        return {"more": more}

    def _create(self, request: Fields, runtime: features.Runtime) -> Mapping[str, Any]:
        began = time.perf_counter_ns()
        pod, container = request.get("pod", {}), request.get("container", {})
        name = ""
        try:
            name = self._judge.select(pod, container)
            before = view.spec(container)
            after = self._judge.apply(before, name, pod)
            adjustment = adjust.difference(before, after, runtime, cgroup2=self._judge.cgroup2)
            if (filters := self._filter(container.get("linux", {}), after, name, runtime)) is not None:
                adjustment.setdefault("linux", {})["seccomp_policy"] = filters
        except (Violation, view.ViewError, adjust.Missing) as error:
            self._log("refused", **_who(pod, container), type=name, reason=str(error), dry_run=self._options.dry_run)
            if self._options.dry_run:
                return {}
            raise Refused(f"container type {name or '(none)'}: {error}") from error
        adjustment.setdefault("annotations", {})[TYPE] = name
        if self._options.verify_hook:
            path, *words = self._options.verify_hook
            adjustment["hooks"] = {"create_runtime": [{"path": path, "args": [path, *words]}]}
        self._log(
            "created",
            **_who(pod, container),
            type=name,
            adjusted=_parts(adjustment),
            microseconds=(time.perf_counter_ns() - began) // 1000,
            dry_run=self._options.dry_run,
        )
        return {} if self._options.dry_run else {"adjust": adjustment}

    def _filter(
        self, linux: Mapping[str, Any], after: Spec, name: str, runtime: features.Runtime
    ) -> Fields | bytes | None:
        """The filter to send, or None where this runtime takes none; raises Violation."""
        if not runtime.can("seccomp_policy"):
            return None
        if "seccomp_policy" in linux:
            return view.seccomp_message(after["linux"]["seccomp"])
        kind: int | None = messages.UNCONFINED
        if not runtime.can("seccomp_profile"):
            kind = None
        elif "seccomp_profile" in linux:
            kind = linux["seccomp_profile"].get("profile_type", messages.RUNTIME_DEFAULT)
            place = linux["seccomp_profile"].get("localhost_ref", "")
            if kind == messages.LOCALHOST and self._judge.is_own_filter(place.removeprefix("localhost/"), name):
                return self._ready(name)[1]
        replaceable = kind in (None, messages.RUNTIME_DEFAULT) and self._options.replace_runtime_default
        if kind != messages.UNCONFINED and not replaceable:
            what = (
                "a filter that this version does not show" if kind is None else _PROFILES.get(kind, "what is unknown")
            )
            raise Violation(
                f"seccomp: the container has {what}, which the type's filter must not replace: it may be the stricter; "
                "ask for Unconfined, or for Localhost with the bundle's own file"
            )
        return self._ready(name)[1]

    def _ready(self, name: str) -> tuple[Fields, bytes]:
        """The type's filter as it is received and as it is sent: the same for every container, so made once."""
        if name not in self._filters:
            data = messages.SECCOMP.encode(view.seccomp_message(self._judge.seccomp(name)))
            self._filters[name] = (messages.SECCOMP.decode(data), data)
        return self._filters[name]

    def _expected(self, pod: Fields, container: Fields, name: str) -> Fields:
        """The filter that this plugin asked for, as it is received back."""
        if "seccomp_policy" not in container.get("linux", {}):
            return self._ready(name)[0]
        after = self._judge.apply(view.spec(container), name, pod)
        return messages.SECCOMP.decode(messages.SECCOMP.encode(view.seccomp_message(after["linux"]["seccomp"])))

    def _update(self, request: Fields, runtime: features.Runtime) -> Mapping[str, Any]:
        pod, container = request.get("pod", {}), request.get("container", {})
        name = ""
        try:
            name = self._judge.select(pod, container)
            before = _asked(view.resources(request.get("linux_resources", {})))
            change = adjust.update(before, self._judge.clamp(before, name), runtime)
        except (Violation, view.ViewError, adjust.Missing) as error:
            self._log(
                "update-refused", **_who(pod, container), type=name, reason=str(error), dry_run=self._options.dry_run
            )
            if self._options.dry_run:
                return {}
            raise Refused(f"container type {name or '(none)'}: {error}") from error
        self._log("updated", **_who(pod, container), type=name, clamped=sorted(change), dry_run=self._options.dry_run)
        if self._options.dry_run or not change:
            return {}
        return {"update": [{"container_id": container.get("id", ""), "linux": {"resources": change}}]}

    def _validate(self, request: Fields, runtime: features.Runtime) -> Mapping[str, Any]:
        """Whether what all plugins together have made of the container is within its type."""
        pod, container = request.get("pod", {}), request.get("container", {})
        adjustment = request.get("adjust", {})
        name = ""
        try:
            name = self._judge.select(pod, container)
            findings = self._outcome(pod, container, adjustment, name)
        except (Violation, view.ViewError) as error:
            findings = [str(error)]
        if not findings:
            return {}
        reason = f"stockade: container type {name or '(none)'}: " + "; ".join(findings)
        self._log("rejected", **_who(pod, container), type=name, wider=findings, dry_run=self._options.dry_run)
        return {} if self._options.dry_run else {"reject": True, "reason": reason}

    def _outcome(self, pod: Fields, container: Fields, adjustment: Fields, name: str) -> list[str]:
        findings = []
        linux = dict(adjustment.get("linux", {}))
        policy = linux.pop("seccomp_policy", None)
        after = adjust.effect(view.spec(container), {**adjustment, "linux": linux})
        if policy is None:
            findings.append("the type's seccomp filter is not among the adjustments")
        elif policy != self._expected(pod, container, name):
            findings.append("another plugin has replaced the type's seccomp filter")
        if after["annotations"].get(TYPE) != name:
            findings.append(f"the annotation {TYPE} is not the container's type")
        if self._options.verify_hook:
            path, *words = self._options.verify_hook
            ours = {"path": path, "args": [path, *words]}
            if ours not in after.get("hooks", {}).get("createRuntime", []):
                findings.append("the verify hook is not among the adjustments")
        return [*findings, *self._judge.check(after, name, pod)]


def _asked(resources: Spec) -> Spec:
    """An update without what CRI has left unsaid, which arrives as zero or as nothing."""
    made: Spec = {}
    for key, value in resources.items():
        kept = {name: item for name, item in value.items() if item} if key in ("memory", "cpu", "pids") else value
        if kept:
            made[key] = kept
    return made


def _who(pod: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, str]:
    return {
        "namespace": pod.get("namespace", ""),
        "pod": pod.get("name", ""),
        "container": container.get("name", ""),
        "id": container.get("id", ""),
    }


def _parts(adjustment: Mapping[str, Any]) -> list[str]:
    """Which parts of a container an adjustment touches."""
    linux = adjustment.get("linux", {})
    parts = [*(set(adjustment) - {"linux"}), *(set(linux) - {"resources"}), *linux.get("resources", {})]
    return sorted(parts)
