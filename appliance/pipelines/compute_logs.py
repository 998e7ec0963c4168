"""What a run prints, in a file beside the others in DAGSTER_HOME; `dagster.yaml` names the class.

Dagster's own class also copies it to the run's former output: two `tail` and two Python processes a
run, which outlive one that is killed.  Nobody reads that output here.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Not among the names Dagster exports at its top (1.13.27).
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.instance.ref import compute_logs_directory
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)
from dagster._serdes import ConfigurableClassData
from dagster._utils import ensure_file, touch_file


class FileComputeLogManager(LocalComputeLogManager):
    """A LocalComputeLogManager that starts no processes."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "FileComputeLogManager":
        """From `dagster.yaml`, where `base_dir` is DAGSTER_HOME: in the folder of all its files."""
        return cls(compute_logs_directory(config_value["base_dir"]), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Standard output and error of the block, into the files of `log_key`."""
        with (
            redirect_to_file(sys.stdout, self._file(log_key, ComputeIOType.STDOUT)),
            redirect_to_file(sys.stderr, self._file(log_key, ComputeIOType.STDERR)),
        ):
            yield CapturedLogContext(log_key)
        complete: str = self.complete_artifact_path(log_key)  # type: ignore[no-untyped-call]
        touch_file(complete)

    def _file(self, log_key: Sequence[str], stream: ComputeIOType) -> str:
        path: str = self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[stream])
        ensure_file(path)
        return path
