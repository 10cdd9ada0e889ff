"""What the host's policy is: subjects, objects, sets, verbs, rules, transitions, constraints and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from stockade.model.position import Said

USER = "system_u"
PROCESS_ROLE = "system_r"
OBJECT_ROLE = "object_r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Said):
    """A kind of process. `label` is its SELinux type; `parent` is the label whose grants it narrows, if it does so.

    `declared_by` is the container type whose own domain it is; such a subject has the container type's name.
    """

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    parent: str | None = None
    declared_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Object(Said):
    """A kind of file or other passive thing, and where files of it live.

    `subtrees` are labelled with all that is below them, `programs` are single regular files, `mount_points` only the
    directory itself, because what is below belongs to the file system mounted there. `context_mounts` get their label
    from a mount option instead of from the files. `*` in a path stands for any run of characters without a slash.
    """

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    subtrees: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    mount_points: tuple[str, ...] = ()
    context_mounts: tuple[str, ...] = ()
    default: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One term of a set expression: a name as written, and the labels it stands for.

    `itself` is for the term `self`: the subject's own label, whatever it is.
    """

    name: str
    members: frozenset[str]
    itself: bool = False


@dataclass(frozen=True, slots=True)
class Labels:
    """A resolved set expression. `but_itself` takes each subject's own label out of what the parts stand for."""

    parts: tuple[Part, ...]
    but_itself: bool = False

    def members(self, subject: str) -> frozenset[str]:
        """The labels meant when `subject` is the one that acts."""
        found: frozenset[str] = frozenset().union(
            *(frozenset([subject]) if part.itself else part.members for part in self.parts)
        )
        return found - {subject} if self.but_itself else found

    def __str__(self) -> str:
        text = ", ".join(part.name for part in self.parts)
        return f"{text} except self" if self.but_itself else text


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSet(Said):
    """A set with a name; `labels` of subjects, objects or both."""

    name: str
    labels: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb(Said):
    """A word for the permissions that mean one intent; every permission of every class is in exactly one verb."""

    name: str
    access: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Said):
    """`who` may do `access` to `what`. `verbs` are the words used, empty where permissions were written out.

    `origin` is the container type that implies the rule, None for one written in the host policy.
    """

    who: Labels
    what: Labels
    access: int
    verbs: tuple[str, ...]
    audit: bool = True
    origin: str | None = None


class Creates(StrEnum):
    """What appears in a transition: a process (by executing), or a file of some class (by creating it)."""

    PROCESS = "process"
    DIR = "dir"
    FILE = "file"
    SOCK_FILE = "sock_file"
    FIFO_FILE = "fifo_file"
    LNK_FILE = "lnk_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Said):
    """When `who` executes (or creates something in) `source`, the new thing is labelled `target`.

    `level` is the new process's range, for example `s0-s0:c0.c1023`, None to keep the old one. `filename` limits a
    file transition to one name.
    """

    who: str
    source: str
    creates: Creates
    target: str
    level: str | None = None
    filename: str | None = None


class Test(StrEnum):
    """The leaves of a constraint's condition."""

    __test__ = False  # not a test case, whatever its name

    DOMINATES = "dominates"  # the subject's highest level dominates the object's
    SAME = "same-context"  # user, role, type and level are all equal
    WHO = "who"  # the subject is in the set
    WHAT = "what"  # the object is in the set


@dataclass(frozen=True, slots=True)
class Leaf:
    """One test; `labels` for `WHO` and `WHAT`, with the name it was written by."""

    test: Test
    name: str = ""
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint(Said):
    """`access` is given only where at least one of `any_of` holds, whatever the rules say.

    `relabelling` makes it a condition on changing a file's label instead: `who` is then the process that does it, and
    `same-context` compares the old label with the new.
    """

    access: int
    verbs: tuple[str, ...]
    any_of: tuple[Leaf, ...]
    relabelling: bool = False


class LabelFrom(StrEnum):
    """Where the files of a file system get their labels."""

    XATTR = "xattr"  # from the file's extended attribute
    TASK = "task"  # from the process that made it
    TRANSITION = "transition"  # from the process and the file system, by transition
    FILESYSTEM = "filesystem"  # one label for all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem(Said):
    """A type of file system, where its labels come from, and the label of the file system itself."""

    name: str
    labels_from: LabelFrom
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host's policy, resolved: every name in it stands for something that exists.

    `initial` maps the kernel's initial SIDs to labels. `separated` are the objects that categories keep apart.
    """

    name: str
    version: str
    why: str
    policy_capabilities: tuple[str, ...]
    categories: int
    subjects: Mapping[str, Subject]
    objects: Mapping[str, Object]
    sets: Mapping[str, NamedSet]
    verbs: Mapping[str, Verb]
    rules: tuple[Rule, ...]
    transitions: tuple[Transition, ...]
    constraints: tuple[Constraint, ...]
    filesystems: tuple[FileSystem, ...]
    initial: Mapping[str, str]

    @property
    def subject_labels(self) -> frozenset[str]:
        """The labels of all subjects."""
        return frozenset(s.label for s in self.subjects.values())

    @property
    def object_labels(self) -> frozenset[str]:
        """The labels of all objects."""
        return frozenset(o.label for o in self.objects.values())
