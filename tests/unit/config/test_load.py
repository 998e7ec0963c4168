from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.config.load import default_state, load_config, shipped, user_config_file
from appliance.domain.errors import ConfigError

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("APPLIANCE_STATE", raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def backend(name: str = "local", more: str = "") -> str:
    return f'[[backends]]\nname = "{name}"\nkind = "vllm"\nbase_url = "http://127.0.0.1:1/v1"\n{more}\n'


def problem(path: Path) -> str:
    """What is said of the file; it names the file."""
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_the_shipped_defaults_load_on_their_own() -> None:
    config = load_config()
    assert config.gateway.listen == "127.0.0.1:8080"
    assert config.backends == ()
    assert [m for m in config.models if m.match == "gpt-oss*"]
    assert shipped("appliance.toml").exists()


def test_a_file_is_laid_over_the_defaults_key_by_key(write: Write) -> None:
    config = load_config(write('[gateway]\nkeepalive_s = 3.0\n[log]\nlevel = "debug"\n'))
    assert (config.gateway.keepalive_s, config.gateway.listen) == (3.0, "127.0.0.1:8080")
    assert (config.log.level, config.routing.retries) == ("debug", 2)


def test_backends_and_models_of_the_file_come_first(write: Write) -> None:
    text = backend() + '[[models]]\nmatch = "gpt-*"\nbackend = "local"\n'
    config = load_config(write(text))
    assert [b.name for b in config.backends] == ["local"]
    assert (config.models[0].match, config.models[0].backend) == ("gpt-*", "local")
    assert config.models[1:] == load_config().models


def test_the_users_lasting_file_counts_when_none_is_named(write: Write) -> None:
    path = user_config_file()
    path.parent.mkdir(parents=True)
    path.write_text("[routing]\nretries = 7\n", encoding="utf-8")
    assert load_config().routing.retries == 7
    assert load_config(write("[routing]\nretries = 1\n")).routing.retries == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gateway]\nlistne = 1\n", ["[gateway]", "listne"]),
        ("[gatway]\n", ["gatway"]),
        (backend("a") + backend("local", "api_kye = 1"), ["[[backends]] 'local'", "api_kye"]),
        ('[[models]]\nmatch = "x"\nfallbak = []\n', ["[[models]] 'x'", "fallbak"]),
    ],
)
def test_an_unknown_key_is_named_with_file_and_table(
    write: Write, text: str, words: list[str]
) -> None:
    said = problem(write(text))
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[gateway]\nmax_body_bytes = "big"\n', ["[gateway] max_body_bytes", "int"]),
        ("[gateway]\nkeepalive_s = 0\n", ["[gateway] keepalive_s", "> 0"]),
        ('[gateway]\nallowed_hosts = "x"\n', ["[gateway] allowed_hosts", "array"]),
        ("gateway = 5\n", ["gateway", "object"]),
        ("backends = 5\n", ["backends", "array"]),
        ("backends = [5]\n", ["[backends]] number 0", "object"]),
        ('[backends]\nname = "x"\n', ["[backends]", "array"]),
        (backend(more="max_in_flight = 0"), ["[[backends]] 'local' max_in_flight", ">= 1"]),
        (backend("no spaces"), ["[[backends]] 'no spaces' name"]),
        ('[[backends]]\nname = "a"\nkind = "vllm"\n', ["[[backends]] 'a'", "base_url"]),
        (backend().replace("http:", "ftp:"), ["[[backends]] 'local' base_url"]),
        ('[[models]]\nmatch = "x"\nroute = "side"\n', ["[[models]] 'x' route", "side"]),
        ('[[models]]\nbackend = "x"\n', ["[[models]] number 0", "match"]),
        ('[log]\nlevel = "loud"\n', ["[log] level", "loud"]),
        ('[moderation]\nmodel = "m"\n', ["[moderation]", "model", "url"]),
    ],
)
def test_a_wrong_value_is_named_with_file_table_and_key(
    write: Write, text: str, words: list[str]
) -> None:
    said = problem(write(text))
    assert all(word in said for word in words), said


def test_what_is_no_toml_names_the_file_and_the_line(write: Write, tmp_path: Path) -> None:
    assert "line 2" in problem(write("[gateway]\nlisten = \n"))
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b'a = "\xff"')
    assert "not valid TOML" in problem(bad)
    assert "cannot be read" in problem(tmp_path / "absent.toml")
    assert "cannot be read" in problem(tmp_path)


def test_a_secret_comes_from_the_environment_or_a_file_beside_the_config(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "sk-env")
    write("sk-file\n", "key.txt")
    text = backend("a", 'api_key = "env:LOCAL_KEY"') + backend("b", 'api_key = "file:key.txt"')
    absolute = backend("c", f'api_key = "file:{tmp_path / "key.txt"}"')
    config = load_config(write(text + absolute + '[nats]\ntoken = "env:LOCAL_KEY"\n'))
    assert [b.api_key for b in config.backends] == ["sk-env", "sk-file", "sk-file"]
    assert config.nats.token == "sk-env"


def test_a_dsn_may_come_from_a_file_too(write: Write) -> None:
    write("host=/run user=x password=y\n", "dsn")
    assert load_config(write('[postgres]\ndsn = "file:dsn"\n')).postgres.dsn == (
        "host=/run user=x password=y"
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (backend(more='api_key = "sk-live-1234"'), "[[backends]] 'local' api_key"),
        (backend(more='api_key = "SK:live-1234"'), "[[backends]] 'local' api_key"),
        (backend(more="api_key = 12341234"), "[[backends]] 'local' api_key"),
        ('[nats]\ntoken = "sk-live-1234"\n', "[nats] token"),
    ],
)
def test_a_secret_written_out_is_refused_and_not_repeated(
    write: Write, text: str, where: str
) -> None:
    said = problem(write(text))
    assert where in said
    assert "env:NAME" in said
    assert "1234" not in said


def test_a_secret_that_is_not_there_names_where_it_was_looked_for(write: Write) -> None:
    text = backend("first") + backend("openai", 'api_key = "env:ABSENT_KEY"')
    said = problem(write(text))
    assert said.endswith("[[backends]] 'openai' api_key: the environment has no ABSENT_KEY")
    nameless = '[[backends]]\nkind = "vllm"\napi_key = "env:ABSENT_KEY"\n'
    assert "[[backends]] number 0 api_key: " in problem(write(nameless))
    assert "[nats] token: " in problem(write('[nats]\ntoken = "env:ABSENT_KEY"\n'))
    said = problem(write(backend(more='api_key = "file:absent.txt"')))
    assert "[[backends]] 'local' api_key" in said
    assert "absent.txt" in said


def test_two_backends_of_one_name_are_refused(write: Write) -> None:
    said = problem(write(backend("twin") + backend("twin")))
    assert "'twin' is there twice" in said
    assert "[[backends]] name" in said


def test_a_default_backend_nobody_described_is_refused(write: Write) -> None:
    said = problem(write('[routing]\ndefault_backend = "gone"\n' + backend()))
    assert "[routing] default_backend" in said
    assert "'gone'" in said
    found = load_config(write('[routing]\ndefault_backend = "local"\n' + backend()))
    assert found.routing.default_backend == "local"


def test_the_first_backend_is_the_default_where_nobody_named_one(write: Write) -> None:
    assert load_config(write(backend())).routing.default_backend == "local"
    assert load_config(write("")).routing.default_backend == ""


@pytest.mark.parametrize(
    "table",
    [
        '[consumer]\nlisten = "nonsense"',
        "[consumer]\nlag_alarm_h = 72.0",
        '[gateway]\nlisten = "8080"',
        '[nats]\nurl = "foo"',
        '[nats]\nurl = "nats://a:4222, http://b:4222"',
        "[retention]\nchat_pairs = -1",
        '[privacy]\nstore = "some"',
    ],
)
def test_what_could_never_work_is_refused_when_it_is_read(write: Write, table: str) -> None:
    key = table.splitlines()[1].split(" ")[0]
    assert key in problem(write(table))


def test_the_state_folder_is_named_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_state() == tmp_path / "XDG_STATE_HOME" / "appliance"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state() == tmp_path / "HOME" / ".local" / "state" / "appliance"
    monkeypatch.setenv("APPLIANCE_STATE", "/srv/here")
    assert default_state() == Path("/srv/here")


def test_a_state_without_a_running_appliance_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="appliance up --state"):
        load_config(state=tmp_path)
