"""Calls that our code must not make: those that run what they read, or pass text to a shell. Found in syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# Reading these formats runs code in the file.
UNPICKLERS = {
    f"{module}.{name}"
    for module in ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle")
    for name in ("load", "loads", "Unpickler", "open", "decode")
} | {"pandas.read_pickle", "pd.read_pickle"}
YAML = {f"yaml.{name}" for name in ("load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all")}
SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
}
CODE = {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"}
ARCHIVES = {"extractall", "extract", "unpack_archive"}


def breaches(source: str, name: str = "code") -> list[str]:
    """Return `name:line: what` for every forbidden call in a module's source."""
    tree = ast.parse(source)
    names = dict(_imports(tree))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _full_name(node.func, names)
            problem = _problem(called, node)
            if problem:
                found.append(f"{name}:{node.lineno}: {called}: {problem}")
    return found


def breaches_of(folder: Path) -> list[str]:
    """Return the breaches of every Python file below a folder."""
    return [text for path in sorted(folder.rglob("*.py")) for text in breaches(path.read_text(), str(path))]


def _problem(called: str, call: ast.Call) -> str:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    last = called.rpartition(".")[2]
    if called in UNPICKLERS:
        return "runs what the file says"
    if called == "torch.load" and not _is(given.get("weights_only"), True):
        return "without weights_only=True it unpickles"
    if called in ("numpy.load", "numpy.lib.format.read_array") and not _is(given.get("allow_pickle", _FALSE), False):
        return "allow_pickle lets it unpickle"
    if called in YAML:
        return "is not the safe loader"
    if called in SHELLS or _is(given.get("shell"), True):
        return "hands text to a shell"
    if called in CODE:
        return "runs text"
    if last in ARCHIVES and not _is(given.get("filter"), "data"):
        return "a path in the archive may lead out of the folder"
    return ""


_FALSE = ast.Constant(value=False)


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname or alias.name.partition(".")[0]), (alias.name if alias.asname else
                                                                        alias.name.partition(".")[0])  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    return "…"
