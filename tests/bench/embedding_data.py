"""Make the data files of appliance/infra/onnx/data, and judge them on Cranfield.

    python -m tests.bench.embedding_data probe                 probe.npy from probe.json
    python -m tests.bench.embedding_data projection [FOLDER…]  projection.npy, from text found here
    python -m tests.bench.embedding_data cranfield             nDCG@10 by precision and projection

The probe comes from the numpy reference, not from a graph.  The projection is fitted on paragraphs
of English prose found under FOLDER (default: Debian's and Perl's documentation), Python's
docstrings and the one-line descriptions of Debian's packages: nothing of Cranfield.  Cranfield is
read from $APPLIANCE_DATA/cranfield.
"""

import ast
import gzip
import os
import random
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.infra.onnx import probe
from appliance.infra.onnx.encoder import Encoder, normalised, projection
from appliance.infra.onnx.spec import DIMENSIONS, FP32, GRAPHS, default_dirs
from tests.unit.infra.onnx.reference import Reference

Matrix = NDArray[np.float32]
DATA = Path(__file__).parents[2] / "appliance" / "infra" / "onnx" / "data"
PER_SOURCE = 6000
_PROSE = re.compile(r"\.(md|rst|txt|pod)(\.gz)?$|^readme", re.IGNORECASE)
_NOT_PROSE = re.compile(r"copyright|changelog|licen[sc]e|news\b|cranfield", re.IGNORECASE)


def paragraphs(text: str) -> Iterator[str]:
    for piece in re.split(r"\n\s*\n", text):
        paragraph = " ".join(piece.split())
        words = paragraph.split(" ")
        letters = sum(c.isalpha() or c == " " for c in paragraph)
        if 6 <= len(words) <= 200 and letters > 0.85 * len(paragraph) < 9 * len(words):
            yield paragraph


def documentation(folders: Iterable[Path]) -> Iterator[str]:
    for file in (f for folder in folders for f in sorted(folder.rglob("*"))):
        if _PROSE.search(file.name) and not _NOT_PROSE.search(str(file)) and file.is_file():
            try:
                raw = file.read_bytes()
                text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()
            except (OSError, UnicodeDecodeError):
                continue
            yield from paragraphs(text)


def docstrings() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in file.parts or "test" in file.parts:
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield from paragraphs(ast.get_docstring(node) or "")


def package_descriptions() -> Iterator[str]:
    listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True)
    for line in re.findall(r"^Description(?:-en)?: (.+)$", listed.stdout, re.MULTILINE):
        yield from paragraphs(line)


def general_text(folders: list[Path]) -> list[str]:
    chosen: list[str] = []
    for source in (documentation(folders), docstrings(), package_descriptions()):
        found = sorted(set(source))
        random.Random(7).shuffle(found)
        chosen += found[:PER_SOURCE]
    return chosen


def embed(encoder: Encoder, texts: list[str]) -> Matrix:
    """[texts, 384], unit length, in order."""
    tokens = encoder.tokenize(texts)
    order = sorted(range(len(texts)), key=lambda n: len(tokens[n]))
    rows = np.empty((len(texts), 384), np.float32)
    for begin in range(0, len(order), 16):
        some = order[begin : begin + 16]
        rows[some] = encoder.pooled([tokens[n] for n in some])
    return normalised(rows)


def make_probe() -> None:
    np.save(DATA / "probe.npy", Reference().embed(probe.texts()).astype(np.float32))


def make_projection(folders: list[Path]) -> None:
    texts = general_text(folders)
    rows = embed(loaded(FP32), texts).astype(np.float64)
    # Second moments, not covariances: the projection keeps inner products and stays linear.
    _, directions = np.linalg.eigh(rows.T @ rows)
    leading = directions[:, ::-1][:, :DIMENSIONS]
    leading *= np.sign(leading.sum(axis=0))  # a direction's sign is arbitrary: fix it
    np.save(DATA / "projection.npy", leading.astype(np.float16))
    print(f"fitted on {len(texts)} paragraphs, {sum(map(len, texts))} characters")


def loaded(precision: str) -> Encoder:
    folder = next(d for d in default_dirs() if d.exists())
    return Encoder.load(folder, precision, threads=0)


def cranfield() -> None:
    documents, queries, grades = read_cranfield()
    numbers = list(documents)
    ways: dict[str, Callable[[Matrix], Matrix]] = {
        "full384": lambda rows: rows,
        "truncated256": lambda rows: normalised(rows[:, :DIMENSIONS]),
        "projected256": lambda rows: normalised(rows @ projection()),
    }
    for precision in GRAPHS:
        encoder = loaded(precision)
        indexed, asked = embed(encoder, list(documents.values())), embed(encoder, queries)
        for name, way in ways.items():
            ranked = np.argsort(-(way(asked) @ way(indexed).T), axis=1)[:, :10]
            scores = [
                ndcg([numbers[n] for n in row], grades.get(query, {}))
                for query, row in enumerate(ranked, start=1)
            ]
            print(f"cranfield_ndcg10_{precision}_{name} {np.mean(scores):.4f} n={len(scores)}")


def read_cranfield() -> tuple[dict[int, str], list[str], dict[int, dict[int, int]]]:
    """Documents by number, queries in order (1, 2, …), and per query the gain of a document (4
    best)."""
    folder = Path(os.environ.get("APPLIANCE_DATA", "../shared/data")) / "cranfield"
    documents = {}
    for record in (folder / "cran.all").read_text().split("\n.I ")[0:]:
        number, _, rest = record.removeprefix(".I ").partition("\n")
        parts = re.split(r"^\.([TABW])\n", rest, flags=re.MULTILINE)
        fields = dict(zip(parts[1::2], parts[2::2], strict=True))
        documents[int(number)] = " ".join(
            (fields.get("W", "").strip() or fields.get("T", "")).split()
        )
    queries = [
        " ".join(record.partition(".W\n")[2].split())
        for record in (folder / "cran.qry").read_text().split("\n.I ")
    ]
    gains: dict[int, dict[int, int]] = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        query, document, grade = map(int, line.split())
        if grade > 0:
            gains.setdefault(query, {})[document] = 5 - grade
    return documents, queries, gains


def ndcg(ranked: list[int], gains: dict[int, int]) -> float:
    ideal = sum(g / np.log2(n + 2) for n, g in enumerate(sorted(gains.values())[::-1][:10]))
    found = sum(gains.get(document, 0) / np.log2(n + 2) for n, document in enumerate(ranked))
    return float(found / ideal) if ideal else 0.0


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "probe":
        make_probe()
    elif command == "projection":
        make_projection(
            [Path(p) for p in rest] or [Path("/usr/share/doc"), Path("/usr/share/perl")]
        )
    elif command == "cranfield":
        cranfield()
    else:
        sys.exit(__doc__)
