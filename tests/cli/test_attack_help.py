"""``rvd attack --help`` says what the attacks are and take, as their code has it."""

import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner

from rvdlib.attacks import ATTACKS
from rvdlib.cli import main
from rvdlib.cli.attack import option_rows


@pytest.mark.parametrize("name", ATTACKS)
def test_every_option_is_shown_with_its_default_and_what_it_is(name):
    fields = ATTACKS[name].Config.model_fields
    rows = dict(option_rows(fields))
    shown = dict(row.split("=", 1) for row in rows)
    assert list(shown) == list(fields)
    for option, default in shown.items():
        if fields[option].is_required():
            assert default == "..."
        else:
            assert yaml.safe_load(default) == fields[option].default
        assert rows[f"{option}={default}"].startswith(fields[option].description)


def test_kinds_and_bounds_are_shown():
    rows = dict(option_rows(ATTACKS["vicinity"].Config.model_fields))
    assert rows["k=30"].endswith(" [whole number, at least 1]")
    assert rows["reg=0.04"].endswith(" [number, above 0]")
    assert rows["lowered=0.5"].endswith(" [number, at least 0, at most 1]")
    assert rows["sources=cover"].endswith(" [one of hubs, cover, allotted]")
    draw = dict(option_rows(ATTACKS["from_file"].Config.model_fields))["draw=false"]
    assert draw.endswith(" [true or false]")


@pytest.mark.parametrize("name", ATTACKS)
def test_help_shows_the_options_of_the_attack_that_is_named(name):
    for arguments in ([name, "--help"], ["-h", name], ["--dataset", "x", name, "-h"]):
        result = CliRunner().invoke(main, ["attack", *arguments], terminal_width=200)
        assert result.exit_code == 0
        assert f"The attack {name}:" in result.output
        rows = option_rows(ATTACKS[name].Config.model_fields)
        assert all(f"  {option} " in result.output for option, _ in rows)
        assert ("  None." in result.output) == (not rows)


@pytest.mark.parametrize("arguments", [[], ["nosuch"]])
def test_help_lists_the_attacks_where_none_is_named(arguments):
    output = CliRunner().invoke(main, ["attack", *arguments, "--help"]).output
    for name in ATTACKS:
        assert f"\n  {name} " in output


def test_the_commands_are_listed_without_torch_and_numpy():
    code = "import sys; from rvdlib.cli import main\n"
    code += "for of in ([], *([name] for name in main.commands if name != 'attack')):\n"
    code += "    main([*of, '--help'], standalone_mode=False)\n"
    code += "assert not {'torch', 'numba', 'scipy', 'numpy', 'yaml'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
