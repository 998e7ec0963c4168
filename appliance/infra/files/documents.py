"""The documents under a path on this machine, as `appliance ingest` takes them.

Hidden files and folders are left out.  A link is followed while it stays inside the folder that was
named, and no file or folder is visited twice, so that a cycle ends.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.domain.knowledge.ingest import Refused

TEXT_SUFFIXES = frozenset({".md", ".markdown", ".txt", ".rst"})
_SNIFF_BYTES = 8192
_LEAVES = "is a link that leaves the folder"


@dataclass(frozen=True, slots=True)
class FileDocument:
    """One file: an `ingest.Source`.  `refusal` says why it is not even opened."""

    name: str
    path: Path
    wanted: bool
    max_bytes: int
    refusal: str = ""

    def read(self) -> bytes:
        """Its bytes, `max_bytes` at most.  Raises Refused."""
        if self.refusal:
            raise Refused(self.refusal, failed=self.wanted)
        try:
            # A FIFO must not block, and a link put there since the walk must not be followed.
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise Refused("is not a regular file", failed=self.wanted)
                data = file.read(self.max_bytes + 1)
        except OSError as exc:
            raise Refused(f"cannot be read: {exc.strerror}", failed=True) from exc
        if len(data) > self.max_bytes:
            if b"\0" in data[:_SNIFF_BYTES]:
                raise Refused("is not text", failed=self.wanted)
            raise Refused(
                f"is larger than {self.max_bytes} bytes ([knowledge] max_file_bytes)", failed=True
            )
        return data


def find(paths: Sequence[Path], *, max_bytes: int) -> list[FileDocument]:
    """The documents of `paths` in a stable order: a file by its base name, those of a folder by
    their path relative to it.  Raises ConfigError when a path does not exist.

    Two files of one run under one name: the second is refused.
    """
    documents: list[FileDocument] = []
    names: dict[str, FileDocument] = {}
    for path in paths:
        for document in _under(path, max_bytes):
            first = names.setdefault(document.name, document)
            if first is document:
                documents.append(document)
            elif first.path != document.path:
                reason = f"has the same name here as {first.path}, which is taken instead"
                documents.append(replace(document, wanted=True, refusal=reason))
    return documents


def _under(path: Path, max_bytes: int) -> Iterator[FileDocument]:
    try:
        root = path.resolve(strict=True)
    except (OSError, RuntimeError) as exc:
        raise ConfigError(f"{path} cannot be ingested: no such file or folder") from exc
    if not root.is_dir():
        yield _document(root, path.name, max_bytes, wanted=True)
        return
    yield from _Walk(root, max_bytes).documents()


@dataclass(slots=True)
class _Walk:
    """One folder that was named.  Links wait until all that is really there has been seen."""

    root: Path
    max_bytes: int
    seen: set[Path] = field(default_factory=set)
    links: list[tuple[Path, str]] = field(default_factory=list)

    def documents(self) -> Iterator[FileDocument]:
        yield from self._folder(self.root, "")
        while self.links:
            path, name = self.links.pop(0)
            yield from self._link(path, name)

    def _folder(self, top: Path, top_name: str) -> Iterator[FileDocument]:
        """Files of a folder, then those of its folders; a stack, for trees of any depth."""
        pending = [(top, top_name)]
        while pending:
            folder, prefix = pending.pop()
            if folder in self.seen:
                continue
            self.seen.add(folder)
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as exc:
                reason = f"cannot be read: {exc.strerror}"
                yield FileDocument(prefix or ".", folder, True, self.max_bytes, reason)
                continue
            for entry in (e for e in entries if not e.name.startswith(".")):
                name = f"{prefix}/{entry.name}" if prefix else entry.name
                if entry.is_symlink():
                    self.links.append((Path(entry.path), name))
                elif entry.is_dir(follow_symlinks=False):
                    pending.append((Path(entry.path), name))
                else:
                    yield self._file(Path(entry.path), name)

    def _link(self, link: Path, name: str) -> Iterator[FileDocument]:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):
            yield FileDocument(name, link, False, self.max_bytes, "is a link to nothing")
            return
        if not target.is_relative_to(self.root):
            yield FileDocument(name, link, False, self.max_bytes, _LEAVES)
        elif target.is_dir():
            yield from self._folder(target, name)
        elif target not in self.seen:
            yield self._file(target, name)

    def _file(self, path: Path, name: str) -> FileDocument:
        self.seen.add(path)
        wanted = path.suffix.lower() in TEXT_SUFFIXES
        return _document(path, name, self.max_bytes, wanted=wanted)


def _document(path: Path, name: str, max_bytes: int, *, wanted: bool) -> FileDocument:
    try:
        name.encode()
    except UnicodeEncodeError:
        name = name.encode("utf-8", "replace").decode()
        return FileDocument(name, path, wanted, max_bytes, "has a name that is not UTF-8")
    return FileDocument(name, path, wanted, max_bytes)
