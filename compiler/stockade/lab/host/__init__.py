"""The guest host: containerd, runc and crun on a sealed, labelled root, under the policy that a bundle holds."""

from .image import Extra, Image, build
from .plan import By, File, Task
from .run import HostFailed, HostRun, TaskResult, run

__all__ = ["By", "Extra", "File", "HostFailed", "HostRun", "Image", "Task", "TaskResult", "build", "run"]
