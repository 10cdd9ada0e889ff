"""The messages of NRI (package `nri.pkg.api.v1alpha1`) and of ttrpc: which fields there are, and their numbers.

Names are the specification's own. Fields that newer versions of NRI have added are here as well: an older runtime
never sends them, and is never sent them (`features`).
"""

from __future__ import annotations

from .wire import Field, Message


def _text(number: int, name: str) -> Field:
    return Field(number, name, "string")


def _texts(number: int, name: str) -> Field:
    return Field(number, name, "string", repeated=True)


def _map(number: int, name: str, kind: str | Message = "string", key: str = "string") -> Field:
    return Field(number, name, kind, key=key)


def _one(number: int, name: str, kind: str | Message) -> Field:
    return Field(number, name, kind)


def _many(number: int, name: str, kind: str | Message) -> Field:
    return Field(number, name, kind, repeated=True)


def _skipped(number: int, name: str, kind: str | Message, key: str | None = None) -> Field:
    return Field(number, name, kind, repeated=key is None, key=key, skipped=True)


def _optional(number: int, name: str, kind: str) -> Field:
    return Field(number, name, kind, wrapped=True)


# What ttrpc itself carries.
KEY_VALUE = Message("KeyValue", _text(1, "key"), _text(2, "value"))
REQUEST = Message(
    "Request",
    _text(1, "service"),
    _text(2, "method"),
    _one(3, "payload", "bytes"),
    _one(4, "timeout_nano", "int64"),
    _many(5, "metadata", KEY_VALUE),
)
STATUS = Message("Status", _one(1, "code", "int32"), _text(2, "message"))
RESPONSE = Message("Response", _one(1, "status", STATUS), _one(2, "payload", "bytes"))

EMPTY = Message("Empty")

# What a container is made of.
MOUNT = Message("Mount", _text(1, "destination"), _text(2, "type"), _text(3, "source"), _texts(4, "options"))
HOOK = Message("Hook", _text(1, "path"), _texts(2, "args"), _texts(3, "env"), _optional(4, "timeout", "int64"))
HOOKS = Message(
    "Hooks",
    _many(1, "prestart", HOOK),
    _many(2, "create_runtime", HOOK),
    _many(3, "create_container", HOOK),
    _many(4, "start_container", HOOK),
    _many(5, "poststart", HOOK),
    _many(6, "poststop", HOOK),
)
NAMESPACE = Message("LinuxNamespace", _text(1, "type"), _text(2, "path"))
DEVICE = Message(
    "LinuxDevice",
    _text(1, "path"),
    _text(2, "type"),
    _one(3, "major", "int64"),
    _one(4, "minor", "int64"),
    _optional(5, "file_mode", "uint32"),
    _optional(6, "uid", "uint32"),
    _optional(7, "gid", "uint32"),
)
DEVICE_RULE = Message(
    "LinuxDeviceCgroup",
    _one(1, "allow", "bool"),
    _text(2, "type"),
    _optional(3, "major", "int64"),
    _optional(4, "minor", "int64"),
    _text(5, "access"),
)
CDI_DEVICE = Message("CDIDevice", _text(1, "name"))
USER = Message("User", _one(1, "uid", "uint32"), _one(2, "gid", "uint32"), _many(3, "additional_gids", "uint32"))
MEMORY = Message(
    "LinuxMemory",
    _optional(1, "limit", "int64"),
    _optional(2, "reservation", "int64"),
    _optional(3, "swap", "int64"),
    _optional(4, "kernel", "int64"),
    _optional(5, "kernel_tcp", "int64"),
    _optional(6, "swappiness", "uint64"),
    _optional(7, "disable_oom_killer", "bool"),
    _optional(8, "use_hierarchy", "bool"),
)
CPU = Message(
    "LinuxCPU",
    _optional(1, "shares", "uint64"),
    _optional(2, "quota", "int64"),
    _optional(3, "period", "uint64"),
    _optional(4, "realtime_runtime", "int64"),
    _optional(5, "realtime_period", "uint64"),
    _text(6, "cpus"),
    _text(7, "mems"),
)
HUGEPAGE_LIMIT = Message("HugepageLimit", _text(1, "page_size"), _one(2, "limit", "uint64"))
PIDS = Message("LinuxPids", _one(1, "limit", "int64"))
RESOURCES = Message(
    "LinuxResources",
    _one(1, "memory", MEMORY),
    _one(2, "cpu", CPU),
    _many(3, "hugepage_limits", HUGEPAGE_LIMIT),
    _optional(4, "blockio_class", "string"),
    _optional(5, "rdt_class", "string"),
    _map(6, "unified"),
    _many(7, "devices", DEVICE_RULE),
    _one(8, "pids", PIDS),
)
SECURITY_PROFILE = Message("SecurityProfile", _one(1, "profile_type", "enum"), _text(2, "localhost_ref"))
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = 0, 1, 2
RLIMIT = Message("POSIXRlimit", _text(1, "type"), _one(2, "hard", "uint64"), _one(3, "soft", "uint64"))
IO_PRIORITY = Message("LinuxIOPriority", _one(1, "class", "enum"), _one(2, "priority", "int32"))
NET_DEVICE = Message("LinuxNetDevice", _text(1, "name"))
SCHEDULER = Message(
    "LinuxScheduler",
    _one(1, "policy", "enum"),
    _one(2, "nice", "int32"),
    _one(3, "priority", "int32"),
    _many(4, "flags", "enum"),
    _one(5, "runtime", "uint64"),
    _one(6, "deadline", "uint64"),
    _one(7, "period", "uint64"),
)
_STRINGS = Message("OptionalRepeatedString", _texts(1, "value"))
RDT = Message(
    "LinuxRdt",
    _optional(1, "clos_id", "string"),
    _one(2, "schemata", _STRINGS),
    _optional(3, "enable_monitoring", "bool"),
    _one(4, "remove", "bool"),
)
MEMORY_POLICY = Message("LinuxMemoryPolicy", _one(1, "mode", "enum"), _text(2, "nodes"), _many(3, "flags", "enum"))
SECCOMP_ARG = Message(
    "LinuxSeccompArg",
    _one(1, "index", "uint32"),
    _one(2, "value", "uint64"),
    _one(3, "value_two", "uint64"),
    _text(4, "op"),
)
SECCOMP_SYSCALL = Message(
    "LinuxSyscall",
    _texts(1, "names"),
    _text(2, "action"),
    _optional(3, "errno_ret", "uint32"),
    _many(4, "args", SECCOMP_ARG),
)
SECCOMP = Message(
    "LinuxSeccomp",
    _text(1, "default_action"),
    _optional(2, "default_errno", "uint32"),
    _texts(3, "architectures"),
    _texts(4, "flags"),
    _text(5, "listener_path"),
    _text(6, "listener_metadata"),
    _many(7, "syscalls", SECCOMP_SYSCALL),
)
LINUX_CONTAINER = Message(
    "LinuxContainer",
    _many(1, "namespaces", NAMESPACE),
    _many(2, "devices", DEVICE),
    _one(3, "resources", RESOURCES),
    _optional(4, "oom_score_adj", "int64"),
    _text(5, "cgroups_path"),
    _one(6, "io_priority", IO_PRIORITY),
    _one(7, "seccomp_profile", SECURITY_PROFILE),
    _one(8, "seccomp_policy", SECCOMP),
    _map(9, "sysctl"),
    _map(10, "net_devices", NET_DEVICE),
    _one(11, "scheduler", SCHEDULER),
    _one(12, "rdt", RDT),
)
CONTAINER = Message(
    "Container",
    _text(1, "id"),
    _text(2, "pod_sandbox_id"),
    _text(3, "name"),
    _one(4, "state", "enum"),
    _skipped(5, "labels", "string", "string"),
    _map(6, "annotations"),
    _skipped(7, "args", "string"),
    _skipped(8, "env", "string"),
    _many(9, "mounts", MOUNT),
    _one(10, "hooks", HOOKS),
    _one(11, "linux", LINUX_CONTAINER),
    _one(12, "pid", "uint32"),
    _many(13, "rlimits", RLIMIT),
    _one(14, "created_at", "int64"),
    _one(15, "started_at", "int64"),
    _one(16, "finished_at", "int64"),
    _one(17, "exit_code", "int32"),
    _text(18, "status_reason"),
    _text(19, "status_message"),
    _many(20, "CDI_devices", CDI_DEVICE),
    _one(21, "user", USER),
)
LINUX_POD = Message(
    "LinuxPodSandbox",
    _one(1, "pod_overhead", RESOURCES),
    _one(2, "pod_resources", RESOURCES),
    _text(3, "cgroup_parent"),
    _text(4, "cgroups_path"),
    _many(5, "namespaces", NAMESPACE),
    _one(6, "resources", RESOURCES),
)
POD = Message(
    "PodSandbox",
    _text(1, "id"),
    _text(2, "name"),
    _text(3, "uid"),
    _text(4, "namespace"),
    _skipped(5, "labels", "string", "string"),
    _map(6, "annotations"),
    _text(7, "runtime_handler"),
    _one(8, "linux", LINUX_POD),
    _one(9, "pid", "uint32"),
    _skipped(10, "ips", "string"),
)

# What a plugin may ask for.
LINUX_ADJUSTMENT = Message(
    "LinuxContainerAdjustment",
    _many(1, "devices", DEVICE),
    _one(2, "resources", RESOURCES),
    _text(3, "cgroups_path"),
    _optional(4, "oom_score_adj", "int64"),
    _one(5, "io_priority", IO_PRIORITY),
    _one(6, "seccomp_policy", SECCOMP),
    _many(7, "namespaces", NAMESPACE),
    _map(8, "sysctl"),
    _map(9, "net_devices", NET_DEVICE),
    _one(10, "scheduler", SCHEDULER),
    _one(11, "rdt", RDT),
    _one(12, "memory_policy", MEMORY_POLICY),
)
ADJUSTMENT = Message(
    "ContainerAdjustment",
    _map(2, "annotations"),
    _many(3, "mounts", MOUNT),
    _many(4, "env", KEY_VALUE),
    _one(5, "hooks", HOOKS),
    _one(6, "linux", LINUX_ADJUSTMENT),
    _many(7, "rlimits", RLIMIT),
    _many(8, "CDI_devices", CDI_DEVICE),
    _texts(9, "args"),
)
_LINUX_UPDATE = Message("LinuxContainerUpdate", _one(1, "resources", RESOURCES))
UPDATE = Message(
    "ContainerUpdate", _text(1, "container_id"), _one(2, "linux", _LINUX_UPDATE), _one(3, "ignore_failure", "bool")
)
EVICTION = Message("ContainerEviction", _text(1, "container_id"), _text(2, "reason"))
_COMPOUND_OWNERS = Message("CompoundFieldOwners", _map(1, "owners"))
FIELD_OWNERS = Message(
    "FieldOwners", _map(1, "simple", key="int32"), _map(2, "compound", _COMPOUND_OWNERS, key="int32")
)
OWNERS = Message("OwningPlugins", _map(1, "owners", FIELD_OWNERS))
PLUGIN_INSTANCE = Message("PluginInstance", _text(1, "name"), _text(2, "index"))

# What is asked and answered: method to request and response.
REGISTER = Message("RegisterPluginRequest", _text(1, "plugin_name"), _text(2, "plugin_idx"), _text(3, "NRI_version"))
_POD_AND_CONTAINER = (_one(1, "pod", POD), _one(2, "container", CONTAINER))
_ANSWER = (_many(1, "update", UPDATE), _many(2, "evict", EVICTION))
METHODS: dict[str, tuple[Message, Message]] = {
    "Configure": (
        Message(
            "ConfigureRequest",
            _text(1, "config"),
            _text(2, "runtime_name"),
            _text(3, "runtime_version"),
            _one(4, "registration_timeout", "int64"),
            _one(5, "request_timeout", "int64"),
            _text(6, "NRI_version"),
        ),
        Message("ConfigureResponse", _one(2, "events", "int32"), _one(3, "request_timeout", "int64")),
    ),
    "Synchronize": (
        Message(
            "SynchronizeRequest", _many(1, "pods", POD), _many(2, "containers", CONTAINER), _one(3, "more", "bool")
        ),
        Message("SynchronizeResponse", _many(1, "update", UPDATE), _one(2, "more", "bool")),
    ),
    "Shutdown": (EMPTY, EMPTY),
    "CreateContainer": (
        Message("CreateContainerRequest", *_POD_AND_CONTAINER),
        Message(
            "CreateContainerResponse",
            _one(1, "adjust", ADJUSTMENT),
            _many(2, "update", UPDATE),
            _many(3, "evict", EVICTION),
        ),
    ),
    "UpdateContainer": (
        Message("UpdateContainerRequest", *_POD_AND_CONTAINER, _one(3, "linux_resources", RESOURCES)),
        Message("UpdateContainerResponse", *_ANSWER),
    ),
    "StateChange": (
        Message("StateChangeEvent", _one(1, "event", "enum"), _one(2, "pod", POD), _one(3, "container", CONTAINER)),
        EMPTY,
    ),
    "ValidateContainerAdjustment": (
        Message(
            "ValidateContainerAdjustmentRequest",
            *_POD_AND_CONTAINER,
            _one(3, "adjust", ADJUSTMENT),
            _many(4, "update", UPDATE),
            _one(5, "owners", OWNERS),
            _many(6, "plugins", PLUGIN_INSTANCE),
        ),
        Message("ValidateContainerAdjustmentResponse", _one(1, "reject", "bool"), _text(2, "reason")),
    ),
}
"""Every method that this plugin answers. Others are answered with the status Unimplemented."""

CREATE_CONTAINER = 1 << 3
UPDATE_CONTAINER = 1 << 7
VALIDATE_CONTAINER_ADJUSTMENT = 1 << 13
"""Events to subscribe to: bit `event - 1`."""
