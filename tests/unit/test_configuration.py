"""Shows where settings come from: defaults, the file, the environment, flags; and which values are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hundredfold.errors import InvalidSetting
from hundredfold_coordinator.cli import cli
from hundredfold_coordinator.cli.configuration import LISTS, load_configuration
from hundredfold_coordinator.config import Config

COMMANDS = ("serve", "run")
OPTIONS = {
    "serve": ("data_dir", "concurrency", "queue_limit", "commands"),
    "run": ("data_dir", "concurrency", "commands"),
}
Load = Callable[[str], dict[str, dict[str, Any]]]
Invoke = Callable[..., Result]


def options(command: str) -> tuple[str, ...]:
    return OPTIONS[command]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a configuration file with this text."""

    def load(text: str) -> dict[str, dict[str, Any]]:
        file = tmp_path / "given.toml"
        file.write_text(text)
        return load_configuration(str(file), COMMANDS, options)

    return load


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return a function that runs the command line, away from this machine's own settings."""
    for name, value in (("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "data"), ("HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def invoke(*arguments: str, config: str = "", **environment: str) -> Result:
        file = tmp_path / "config" / "hundredfold" / "config.toml"
        if config:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(config)
        return CliRunner().invoke(cli, arguments, env=environment)

    return invoke


def settings(result: Result) -> dict[str, tuple[str, str]]:
    """Return value and origin of each setting that was printed."""
    assert result.exception is None, result.output
    rows = [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in result.stdout.splitlines()]
    assert rows[0] == ["SETTING", "VALUE", "ORIGIN"]
    return {row[0]: (row[1] if len(row) == 3 else "", row[-1]) for row in rows[1:]}


# The file -------------------------------------------------------------------------------------------------------------


def test_what_is_at_the_top_is_for_all_commands(load: Load) -> None:
    assert load('data_dir = "/srv"') == {"serve": {"data_dir": "/srv"}, "run": {"data_dir": "/srv"}}


def test_a_table_is_for_its_command_and_wins(load: Load) -> None:
    found = load("concurrency = 1\n[serve]\nconcurrency = 2")
    assert found == {"serve": {"concurrency": 2}, "run": {"concurrency": 1}}


def test_dashes_are_as_good_as_underscores(load: Load) -> None:
    assert load('data-dir = "/a"\n[run]\ndata_dir = "/b"')["run"] == {"data_dir": "/b"}
    assert load("[serve]\nqueue-limit = 3")["serve"] == {"queue_limit": 3}


def test_commands_are_a_table_of_programs(load: Load) -> None:
    found = load('[commands]\ncount = ["jq", "a b"]\nplain = "wc -l"\nodd = ["head", 3]')
    assert found["serve"]["commands"] == ["count=jq 'a b'", "plain=wc -l", "odd=head 3"]
    assert found["run"] == found["serve"]


def test_commands_of_one_command_replace_the_common_ones(load: Load) -> None:
    found = load('[commands]\na = ["a"]\n[serve.commands]\nb = ["b"]')
    assert (found["serve"]["commands"], found["run"]["commands"]) == (["b=b"], ["a=a"])


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"`config` is .*none\.toml: No such file"):
        load_configuration(str(tmp_path / "none.toml"), COMMANDS, options)


@pytest.mark.parametrize("data", [b"a = ", b"a = 1\na = 2", b"\xff"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(data)
    with pytest.raises(InvalidSetting, match=r"bad\.toml, which is not TOML"):
        load_configuration(str(file), COMMANDS, options)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("concurency = 3", "concurency is no setting; did you mean concurrency?"),
        ("[serve]\nconcurency = 3", "serve.concurency is no setting; did you mean serve.concurrency?"),
        ("[run]\nqueue_limit = 3", "run.queue_limit is no setting"),
        ("[nonsense]\na = 3", "nonsense is no setting"),
        ("[srve]\nconcurrency = 3", "srve is no setting; did you mean serve?"),
        ("concurrency = [1]", "concurrency is [1] and must be a single value"),
        ("[serve]\nconcurrency = {a = 1}", "serve.concurrency is {'a': 1} and must be a single value"),
        ("[commands]\nx = 3", "commands.x is 3 and must be a program with its arguments"),
        ("[serve.commands]\nx = 3", "serve.commands.x is 3 and must be a program"),
    ],
)
def test_a_key_that_nothing_reads_is_named(load: Load, text: str, problem: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        load(text)
    assert problem in str(caught.value)


def test_every_option_that_takes_several_values_may_have_a_list() -> None:
    commands = [cli.get_command(click.Context(cli), name) for name in cli.list_commands(click.Context(cli))]
    several = {option.name for one in commands if one for option in one.params if getattr(option, "multiple", False)}
    assert several == set(LISTS)


def test_a_setting_may_be_called_as_a_command_is(invoke: Invoke) -> None:
    config = 'store = "sqlite:/elsewhere/x.db"\ndata_dir = "/somewhere"'
    assert settings(invoke("serve", "--print-config", config=config))["store"][0] == "sqlite:/elsewhere/x.db"
    refused = invoke("store", "check", config=config).exception
    assert "/somewhere" in str(refused), "it holds for the command's own commands, too"


def test_a_value_where_a_table_should_be_is_named(load: Load) -> None:
    with pytest.raises(InvalidSetting, match="run"):
        load("run = 1")


def test_without_a_file_there_are_no_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load_configuration(None, COMMANDS, options) == {}
    (tmp_path / "hundredfold").mkdir()
    (tmp_path / "hundredfold" / "config.toml").write_text("concurrency = 7")
    assert load_configuration(None, COMMANDS, options)["run"] == {"concurrency": 7}


# Ranges ---------------------------------------------------------------------------------------------------------------


def config(**settings: Any) -> Config:
    return Config(data_dir=Path("/d"), runtime_dir=Path("/r"), store="memory:", **settings)


@pytest.mark.parametrize(
    ("setting", "good", "bad"),
    [
        ("concurrency", [1, 100_000], [0, -1, 100_001]),
        ("queue_limit", [1, 10_000_000], [0, 10_000_001]),
        ("queue_bytes", [1, 1 << 40], [0, (1 << 40) + 1]),
        ("max_payload_bytes", [1, 64 << 20], [0, (64 << 20) + 1]),
        ("event_quota", [0, 10_000_000], [-1]),
        ("memory_reserve_bytes", [0, 1 << 50], [-1]),
        ("grace_seconds", [0, 0.5, 3600], [-0.1, 3601, float("nan"), float("inf")]),
        ("drain_seconds", [0, 86_400], [-1, 86_401]),
        ("orphan_seconds", [0.1, 86_400], [0, 0.05, float("nan")]),
    ],
)
def test_a_setting_has_its_range(setting: str, good: list[float], bad: list[float]) -> None:
    for value in good:
        assert getattr(config(**{setting: value}), setting) == value
    for value in bad:
        with pytest.raises(InvalidSetting, match=f"`{setting}` is {value} and must be from"):
            config(**{setting: value})


@pytest.mark.parametrize("listen", ["", "127.0.0.1:7717", "localhost:0", "[::1]:80"])
def test_it_listens_where_only_this_machine_calls(listen: str) -> None:
    assert config(listen=listen).listen == listen


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:80", "7717", "127.0.0.1", "127.0.0.1:http", "example.com:80", ":80", "::1:80"]
)
def test_it_listens_nowhere_else(listen: str) -> None:
    with pytest.raises(InvalidSetting, match="must be a loopback address"):
        config(listen=listen)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        config().concurrency = 2  # type: ignore[misc]  # that is the point


# Where they come from -------------------------------------------------------------------------------------------------


def test_every_setting_is_printed_with_its_origin(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke(
        "serve",
        "--print-config",
        "--grace-seconds",
        "2",
        config="[serve]\nconcurrency = 7",
        HUNDREDFOLD_QUEUE_LIMIT="9",
    )
    found = settings(result)
    assert set(found) == set(Config.__dataclass_fields__)
    assert found["grace_seconds"] == ("2.0", "commandline")
    assert found["queue_limit"] == ("9", "environment")
    assert found["concurrency"] == ("7", "config file")
    assert found["event_quota"] == ("10000", "default")
    assert found["runtime_dir"] == (str(tmp_path / "data" / "hundredfold"), "derived")
    assert found["store"][0] == f"sqlite:{tmp_path / 'data' / 'hundredfold' / 'hundredfold.db'}"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(invoke: Invoke) -> None:
    file = "concurrency = 1"
    variable = {"HUNDREDFOLD_CONCURRENCY": "2"}
    serve = ("serve", "--print-config")
    assert settings(invoke(*serve, config=file))["concurrency"] == ("1", "config file")
    assert settings(invoke(*serve, config=file, **variable))["concurrency"] == ("2", "environment")
    flag = invoke(*serve, "--concurrency", "3", config=file, **variable)
    assert settings(flag)["concurrency"] == ("3", "commandline")


def test_another_file_can_be_named(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("concurrency = 5")
    other = str(tmp_path / "other.toml")
    for found in (
        invoke("--config", other, "serve", "--print-config", config="concurrency = 1"),
        invoke("serve", "--print-config", HUNDREDFOLD_CONFIG=other),
    ):
        assert settings(found)["concurrency"] == ("5", "config file")


def test_programs_and_plugins_come_from_the_file(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "agents.py").touch()
    file = f'plugin_files = ["{tmp_path}/agents.py"]\n[commands]\ncount = ["jq", "length"]'
    found = settings(invoke("serve", "--print-config", config=file))
    assert str(tmp_path / "agents.py") in found["plugin_files"][0]
    assert found["commands"][0] == "'count=jq length'"


def test_settings_are_printed_as_one_writes_them(invoke: Invoke) -> None:
    arguments = ("--tenant-limit", "a=3", "--tenant-limit", "=0", "--tenant-weight", "b c=0.5", "--command", "n=wc -l")
    shown = invoke("serve", "--print-config", *arguments)
    found = settings(shown)
    assert found["tenant_limits"][0] == "a=3 =0"
    assert found["tenant_weights"][0] == "'b c=0.5'"
    assert found["commands"][0] == "'n=wc -l'"
    again = invoke("serve", "--print-config", HUNDREDFOLD_TENANT_LIMIT=found["tenant_limits"][0])
    assert settings(again)["tenant_limits"] == ("a=3 =0", "environment")


def test_settings_are_printed_as_json(invoke: Invoke, tmp_path: Path) -> None:
    arguments = ("--tenant-limit", "a=3", "--command", "n=wc -l")
    result = invoke("serve", "--print-config", "-o", "json", *arguments, config="concurrency = 7")
    rows = {row["setting"]: (row["value"], row["origin"]) for row in map(json.loads, result.stdout.splitlines())}
    assert set(rows) == set(Config.__dataclass_fields__)
    assert rows["concurrency"] == (7, "config file")
    assert rows["tenant_limits"] == ({"a": 3}, "commandline")
    assert rows["commands"] == ({"n": ["wc", "-l"]}, "commandline")
    assert rows["plugin_files"] == ([], "default")
    assert rows["data_dir"][0] == str(tmp_path / "data" / "hundredfold")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--concurrency", "0"], "`concurrency` is 0"),
        (["--plugin", "/nowhere.py"], "`plugin` is /nowhere.py, which is not a file"),
        (["--command", "jq"], "must look like name=PROGRAM ARGUMENTS"),
        (["--command", "=jq"], "must look like name=PROGRAM ARGUMENTS"),
        (["--command", "a='"], "No closing quotation"),
    ],
)
def test_a_wrong_option_is_named(invoke: Invoke, arguments: list[str], problem: str) -> None:
    result = invoke("serve", "--print-config", *arguments)
    assert isinstance(result.exception, InvalidSetting)
    assert problem in str(result.exception)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[serve]\nconcurrency = "x"', "Invalid value for `concurrency` in {file}: 'x' is not a valid integer"),
        ("[serve]\nconcurrency = 0", "`concurrency` is 0 and must be from 1 to 100000; {file} says so."),
        ('[serve]\ntenant_limits = {a = "x"}', "`tenant_limit` is 'a=x'"),
        ('plugin_files = ["/nowhere.py"]', "`plugin` is /nowhere.py, which is not a file; {file} says so."),
    ],
)
def test_a_wrong_value_in_the_file_is_blamed_on_the_file(
    invoke: Invoke, tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "config" / "hundredfold" / "config.toml"
    result = invoke("serve", "--print-config", config=text)
    said = f"{result.output}\n{result.exception}"
    assert problem.format(file=file) in said
    assert str(file) in said
    assert "HUNDREDFOLD_CONCURRENCY" not in said


def test_what_was_typed_is_not_blamed_on_the_file(invoke: Invoke) -> None:
    result = invoke("serve", "--print-config", "--concurrency", "0", config="[serve]\nconcurrency = 3")
    assert str(result.exception) == "Setting `concurrency` is 0 and must be from 1 to 100000."
