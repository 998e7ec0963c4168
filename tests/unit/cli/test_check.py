from pathlib import Path

import pytest

from appliance.__main__ import main


def test_a_valid_file_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[backends]]\nname = "big"\nkind = "vllm"\nbase_url = "http://10.0.0.2:8000/v1"\n'
        '[[models]]\nmatch = "qwen3-*"\nbackend = "big"\n'
        '[[models]]\nmatch = "other"\nbackend = "elsewhere"\n'
    )
    assert main(["check", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{file}: valid\n")
    assert "backend   big" in said
    assert "qwen3-*          big\n" in said
    assert "other            elsewhere (inactive: no such backend)" in said
    assert len([line for line in said.splitlines() if line.startswith("model ")]) == 2
    assert "rows of known models" in said


def test_a_row_is_shown_with_the_names_and_fallbacks_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    backend = '[[backends]]\nname = "{}"\nkind = "openai-compatible"\nbase_url = "http://h/v1"\n'
    file.write_text(
        backend.format("local")
        + backend.format("hosted")
        + '[[models]]\nmatch = "qwen3-*"\nbackend = "local"\nfallback = ["hosted", "nobody"]\n'
        + '[[models]]\nmatch = "qwen3-*"\nbackend = "hosted"\nupstream_model = "gpt-4.1-mini"\n'
        + '[[models]]\nmatch = "small"\nbackend = "local"\nupstream_model = "small-q4"\n'
        + 'fallback = ["hosted"]\n'
        + '[[models]]\nmatch = "told"\ncontext_window = 5\n'
    )
    assert main(["check", "--config", str(file)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model ")]
    assert [row.removeprefix("model     ") for row in rows] == [
        "qwen3-*          local -> hosted (as gpt-4.1-mini) -> nobody (inactive: no such backend)",
        "qwen3-*          hosted (as gpt-4.1-mini)",
        "small            local (as small-q4) -> hosted",
        "told             described only",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gateway]\nmax_body_bytes = 1\n", "max_body_bytes"),
        ("[gateway\n", "not valid TOML"),
        ('[dagster]\ndsn = "host=db passwort=x"\n', "[dagster] dsn: is not a connection string"),
        ('[dagster]\nhome = "/dev/null/home"\n', "[dagster] home: nothing can be written"),
        (
            '[[backends]]\nname = "x"\nkind = "magic"\nbase_url = "http://h/v1"\n',
            "[[backends]] 'x' kind: 'magic' is not one of",
        ),
    ],
)
def test_an_invalid_file_is_one_sentence(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert main(["check", "--config", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"appliance check: {file}: ")
    assert words in said
