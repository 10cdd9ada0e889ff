"""What is asked once for many container types is what each would be told by itself."""

from __future__ import annotations

from dataclasses import replace

from stockade.bundle.compile import Compiled
from stockade.model.once import Once
from stockade.model.policy import Policy
from stockade.prove.confined import Confined, of_type
from stockade.prove.needs import answers
from stockade.prove.remembered import Remembered
from stockade.selinux.libsepol import Decisions


def changed(confined: Confined) -> list[Confined]:
    """The same type with one thing changed that some need asks about, each time another."""
    spec = confined.spec
    linux, process = spec["linux"], spec["process"]
    resources = linux["resources"]
    specs = [
        {**spec, "linux": {**linux, "namespaces": linux["namespaces"][1:]}},
        {**spec, "linux": {**linux, "maskedPaths": []}},
        {**spec, "linux": {**linux, "readonlyPaths": []}},
        {**spec, "mounts": []},
        {**spec, "root": {**spec["root"], "readonly": not spec["root"].get("readonly", False)}},
        {**spec, "linux": {**linux, "resources": {**resources, "devices": [{"allow": True, "access": "rwm"}]}}},
        {**spec, "linux": {**linux, "resources": {"devices": resources["devices"]}}},
        {**spec, "process": {**process, "noNewPrivileges": not process["noNewPrivileges"]}},
        {**spec, "process": {**process, "capabilities": {**process["capabilities"], "permitted": ["CAP_SYS_ADMIN"]}}},
    ]
    contexts = [confined.context.replace(confined.domain, other) for other in ("super_t", "batch_t")]
    return [
        confined,
        *(replace(confined, spec=one) for one in specs),
        *(replace(confined, context=one) for one in contexts),
        replace(confined, files=confined.files.replace("data_t", "private_t")),
        replace(confined, other="s0"),
        replace(confined, runtime="crun"),
        replace(confined, architectures=confined.architectures[:1]),
        replace(confined, complains=True),
        *(
            replace(confined, place=lambda key: f" (elsewhere, {key})", complains=complains)
            for complains in (False, True)
        ),
    ]


def test_types_that_differ_in_one_thing_get_their_own_answers(policy: Policy, compiled: Compiled) -> None:
    types = [one for container in policy.containers.values() for one in changed(of_type(policy, container))]
    needs = [need for action in policy.actions.values() for way in action.ways for need in way]
    with Decisions(compiled.kernel_policy) as oracle:
        remembered = Remembered(oracle)
        told = {}
        for number, confined in enumerate(types):
            for need in needs:
                told[number, id(need)] = remembered(confined, need)
                assert told[number, id(need)] == tuple(answers(confined, need, oracle)), (confined.name, need)
    assert len(set(told.values())) > 1000


def test_once_is_once_for_the_same_thing_and_no_other() -> None:
    asked = []

    def length(what: list[int], name: str = "", more: list[int] | None = None) -> int:
        asked.append((what, name, more))
        return len(what) + len(name) + len(more or ())

    one, equal = [1], [1]
    once = Once(length)
    assert [once(one), once(one), once(equal)] == [1, 1, 1]
    assert [once(one, "ab"), once(one, "a" + "b"), once(one, "c"), once(one, name="ab")] == [3, 3, 2, 3]
    assert [once(one, "", one), once(one, "", equal), once(one, "", one)] == [2, 2, 2]
    assert len(asked) == 7
