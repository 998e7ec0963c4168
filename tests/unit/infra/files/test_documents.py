import os
from pathlib import Path

import pytest

from appliance.domain.errors import ConfigError
from appliance.domain.knowledge.ingest import Refused
from appliance.infra.files.documents import FileDocument, find


def _write(path: Path, data: bytes = b"text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _find(*paths: Path, max_bytes: int = 1000) -> dict[str, FileDocument]:
    return {document.name: document for document in find(paths, max_bytes=max_bytes)}


def _refusal(document: FileDocument) -> Refused:
    with pytest.raises(Refused) as refused:
        document.read()
    return refused.value


def test_names_are_relative_to_the_folder_or_the_base_name(tmp_path: Path) -> None:
    _write(tmp_path / "docs" / "deep" / "b.txt")
    _write(tmp_path / "docs" / "a.md")
    single = _write(tmp_path / "else" / "c.rst")
    assert list(_find(tmp_path / "docs", single)) == ["a.md", "deep/b.txt", "c.rst"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path / ".git" / "config")
    _write(tmp_path / ".env")
    _write(tmp_path / "a.md")
    assert list(_find(tmp_path)) == ["a.md"]


def test_a_link_that_leaves_the_folder_is_never_followed(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside" / "secret.md", b"secret")
    root = tmp_path / "root"
    _write(root / "a.md")
    (root / "file.md").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / "nothing.md").symlink_to(tmp_path / "missing")
    found = _find(root)
    assert found["a.md"].read() == b"text"
    for name in ("file.md", "folder"):
        refusal = _refusal(found[name])
        assert (refusal.reason, refusal.failed) == ("is a link that leaves the folder", False)
    assert _refusal(found["nothing.md"]).reason == "is a link to nothing"
    assert len(found) == 4


def test_a_link_put_in_place_of_a_file_after_the_walk_is_not_followed(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside" / "secret.md", b"secret")
    page = _write(tmp_path / "root" / "a.md")
    document = _find(tmp_path / "root")["a.md"]
    page.unlink()
    page.symlink_to(outside)
    assert _refusal(document).failed


def test_links_inside_the_folder_are_followed_once_and_cycles_end(tmp_path: Path) -> None:
    _write(tmp_path / "a" / "page.md")
    _write(tmp_path / ".data" / "mounted.md", b"mounted")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "copy.md").symlink_to("a/page.md")
    (tmp_path / "mounted.md").symlink_to(".data/mounted.md")
    found = _find(tmp_path)
    assert list(found) == ["a/page.md", "mounted.md"]
    assert found["mounted.md"].read() == b"mounted"


def test_a_file_larger_than_the_limit_is_refused_and_missed(tmp_path: Path) -> None:
    _write(tmp_path / "big.md", b"x" * 1001)
    _write(tmp_path / "fits.md", b"x" * 1000)
    _write(tmp_path / "film.bin", b"\0" * 1001)
    found = _find(tmp_path)
    assert len(found["fits.md"].read()) == 1000
    assert "larger than 1000 bytes" in _refusal(found["big.md"]).reason
    assert _refusal(found["big.md"]).failed
    assert not _refusal(found["film.bin"]).failed


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert _refusal(_find(tmp_path)["pipe.md"]).reason == "is not a regular file"


def test_a_second_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    one, two = _write(tmp_path / "1" / "a.md", b"one"), _write(tmp_path / "2" / "a.md", b"two")
    first, second = find([one, two, one], max_bytes=1000)
    assert first.read() == b"one"
    assert _refusal(second).failed
    assert str(one) in _refusal(second).reason


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_bytes(b"text")
    (document,) = find([tmp_path], max_bytes=1000)
    assert document.name == "caf?.md"
    assert _refusal(document).reason == "has a name that is not UTF-8"


def test_a_path_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        find([tmp_path / "missing"], max_bytes=1000)
