"""``rvd attack --help`` says what the attacks are and take, as their code has it, at once."""

import inspect
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from rvdlib.attacks import ATTACKS
from rvdlib.cli import attack_help, main
from rvdlib.cli.attack_help import described


def options_of(name):
    """Name → default, as the signature has them; no default is the empty mark of inspect."""
    parameters = list(inspect.signature(ATTACKS[name]).parameters.values())[2:]
    return {each.name: each.default for each in parameters if each.name != "history"}


def test_every_attack_is_described_in_the_order_of_the_registry():
    assert list(described()) == list(ATTACKS)
    for name, attack in described().items():
        assert attack.summary.endswith("."), name
        assert "`" not in attack.summary


@pytest.mark.parametrize("name", ATTACKS)
def test_options_and_defaults_are_those_of_the_signature_and_each_is_explained(name):
    found, expected = described()[name].options, options_of(name)
    assert list(found) == list(expected)
    for option in found.values():
        if option.default is None:
            assert expected[option.name] is inspect.Parameter.empty
        else:
            assert yaml.safe_load(option.default) == expected[option.name]
        assert option.description.endswith("."), f"{option.name} is not explained"
        assert "`" not in option.description


def test_a_type_without_a_word_of_its_own_is_shown_as_it_is_written(monkeypatch):
    monkeypatch.setattr(attack_help, "_TYPES", {})
    found = {
        option.type for each in described.__wrapped__().values() for option in each.options.values()
    }
    assert {"int", "float", "str | Path", "Sequence[int] | None"} <= found


@pytest.mark.parametrize("name", ATTACKS)
def test_help_shows_the_options_of_the_attack_that_is_named(name):
    for arguments in ([name, "--help"], ["-h", name], ["--dataset", "x", name, "-h"]):
        result = CliRunner().invoke(main, ["attack", *arguments], terminal_width=200)
        assert result.exit_code == 0
        assert f"The attack {name}:" in result.output
        for option in described()[name].options.values():
            assert f"  {option.name}={option.default or '...'} " in result.output
    assert ("  None." in result.output) == (not described()[name].options)


@pytest.mark.parametrize("arguments", [[], ["nosuch"]])
def test_help_lists_the_attacks_where_none_is_named(arguments):
    output = CliRunner().invoke(main, ["attack", *arguments, "--help"]).output
    for name in ATTACKS:
        assert f"\n  {name} " in output


def test_help_needs_neither_torch_nor_numpy():
    code = "import sys; from rvdlib.cli import main; main(sys.argv[1:], standalone_mode=False); "
    code += "assert not {'torch', 'numba', 'scipy', 'numpy', 'yaml'} & set(sys.modules)"
    for arguments in (["attack", "-h"], ["attack", "aush", "-h"], ["--version"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
