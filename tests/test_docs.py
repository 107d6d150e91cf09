"""Everything that the docs name exists: files, commands, flags, configuration keys, figures."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from dualprune.cli import app
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.metrics import GAUGES
from dualprune.core.yaml_file import parse_yaml

ROOT = Path(__file__).parents[1]
DOCS = sorted(
    path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("cluster/**/*.md")]
)
FOLDERS = ("dualprune", "pipelines", "cluster", "benchmarks", "tests", "docs")
# The beginning of a command whose flags are checked, and its end.
PROGRAMS = r"dualprune|ray job|python -m pipelines\.\w+|python (?:benchmarks|cluster)/\S+\.py|make"
STARTS = re.compile(rf"(?:^|(?<=-- )|(?<=&& )|(?<=[|;] ))(?:{PROGRAMS}) ")
END = re.compile(r" # | -- |[;&|]{1,2} |`|…`|$")


def text_of(doc: Path) -> str:
    return (ROOT / doc).read_text()


def code_of(doc: Path) -> Iterator[str]:
    """Yield the lines of code blocks, with continued lines joined, and the text in backticks."""
    text = text_of(doc).replace("\\\n", " ")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    plain = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (line for block in fenced for line in block.splitlines())
    for line in plain.splitlines():
        yield from [line.strip()] if line.startswith("    ") else re.findall(r"`([^`]+)`", line)


def commands_of(doc: Path) -> Iterator[list[str]]:
    """Yield the words of every command that we can check."""
    for code in code_of(doc):
        line = " ".join(code.split())
        for start in STARTS.finditer(line):
            rest = line[start.start() :]
            alternatives = re.match(r"dualprune \w+(?: \| \w+)+", rest)
            if alternatives:
                yield from (["dualprune", word] for word in re.findall(r"\w+", alternatives[0])[1:])
            else:
                yield rest[: END.search(rest, 1).start()].split()


def flags(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}


def options_of(command) -> set[str]:
    return {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]} | {"--help"}


def problem(words: list[str]) -> str:
    """Return what is wrong with a command, or an empty string."""
    if words[0] == "dualprune":
        command = typer.main.get_command(app)
        for word in words[1:]:
            if not hasattr(command, "commands"):
                break
            if re.fullmatch(r"[A-Z…].*|--help|--version", word):
                return ""
            if word not in command.commands:
                return f"there is no command {word}"
            command = command.commands[word]
        return ", ".join(sorted(flags(words) - options_of(command)))
    if words[0] == "ray":
        from ray.dashboard.modules.job.cli import job_cli_group

        if len(words) < 3 or words[2] not in job_cli_group.commands:
            return f"ray has no command {' '.join(words[:3])}"
        return ", ".join(sorted(flags(words) - options_of(job_cli_group.commands[words[2]])))
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if words[1] in targets else f"there is no target {words[1]}"
    if words[1] == "-m":
        module = ROOT / f"{words[2].replace('.', '/')}.py"
        return "" if module.is_file() and flags(words) <= _told(words[1:3]) else f"{flags(words)} of {module}"
    program = ROOT / words[1]
    return "" if program.is_file() and flags(words) <= set(re.findall(r"--[a-z-]+", program.read_text())) else words[1]


def _told(program: list[str]) -> set[str]:
    done = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return set(re.findall(r"--[a-z-]+", done.stdout))


@pytest.mark.parametrize("doc", DOCS, ids=str)
def test_links_lead_somewhere(doc: Path) -> None:
    prose = re.sub(r"^```\w*\n.*?^```", "", text_of(doc), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose)
    assert [link for link in links if not (ROOT / doc.parent / link).exists()] == []


@pytest.mark.parametrize("doc", DOCS, ids=str)
def test_files_are_there(doc: Path) -> None:
    named = {
        word.rstrip(".,;:)/")
        for code in code_of(doc)
        for word in re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]+", code)
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("doc", DOCS, ids=str)
def test_commands_and_their_flags_are_there(doc: Path) -> None:
    found = {" ".join(words): problem(words) for words in commands_of(doc)}
    assert {words: why for words, why in found.items() if why} == {}


@pytest.mark.parametrize("doc", DOCS, ids=str)
def test_configuration_keys_are_there(doc: Path) -> None:
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    pattern = rf"(?<![\w./])({'|'.join(sections)})\.([a-z_]+)\b(?![(/.])"
    named = {match for code in code_of(doc) for match in re.findall(pattern, code)}
    files = ("py", "json", "parquet", "md", "yaml")
    unknown = [f"{a}.{b}" for a, b in sorted(named) if b not in sections[a].model_fields and b not in files]
    assert unknown == []


def blocks_of(doc: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(doc), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("doc", DOCS, ids=str)
def test_configurations_are_valid(doc: Path) -> None:
    # Files of the package on docs/plugins.md have a test of their own, with that package.
    for block in blocks_of(doc, "yaml"):
        if not re.match(r"# \S+\.yaml\n", block):
            make_config(parse_yaml(block, str(doc)))


@pytest.mark.parametrize("doc", DOCS, ids=str)
def test_python_is_valid_and_names_what_there_is(doc: Path) -> None:
    import dualprune

    for block in blocks_of(doc, "python"):
        compile(block, str(doc), "exec")
        for name in re.findall(r"\bdualprune\.([A-Za-z_]\w*)", block):
            assert hasattr(dualprune, name) or (ROOT / "dualprune" / name).is_dir(), name


def test_figures_for_prometheus_are_those_that_we_publish() -> None:
    named = {name for doc in DOCS for name in re.findall(r"ray_(dualprune_\w+)", text_of(doc))}
    assert named == set(GAUGES)


def test_the_check_itself_finds_what_is_wrong() -> None:
    assert problem(["dualprune", "prone", "x"]) == "there is no command prone"
    assert problem(["dualprune", "cluster", "chek"]) == "there is no command chek"
    assert problem(["dualprune", "prune", "x", "--runs", "y"]) == "--runs"
    assert problem(["ray", "job", "submit", "--adress", "x"]) == "--adress"
    assert problem(["make", "tests"]) == "there is no target tests"
    assert problem(["python", "-m", "pipelines.prune", "--nothing"]) != ""
    assert problem(["python", "benchmarks/cost.py", "--speed"]) == "benchmarks/cost.py"
