"""How many small mistakes the fast tests would notice: ``make mutate``, or with ``MODULE=PATH``.

Each mutant is one change that cosmic-ray can make to one line: ``<=`` for ``<``, a minus for a
plus, another number, a condition turned round. It is made in a copy of the checkout, and the tests
of its area are run until the first failure. Of many mutants a sample is tried, always the same.
Prints for each area the share that was caught and every survivor; some survivors change nothing
that could be noticed. The exit code is 1 if less than ``--floor`` was caught.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import os
import py_compile
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[2]
_EVIDENCE = [
    f"tests/evidence/test_{name}.py"
    for name in ("thresholds", "overlap", "additivity", "verdict", "claims")
]
_KEYS = [f"tests/engine/test_{name}.py" for name in ("keys", "store", "experiment")]
TESTS = {
    "labkit/measure": ["tests/measure"],
    "labkit/evidence/statistics.py": ["tests/evidence", "-k", "statistics and not cover"],
    "labkit/evidence/units.py": ["tests/report/test_units.py", *_EVIDENCE],
    "labkit/evidence": _EVIDENCE,
    **{
        f"labkit/engine/{name}.py": _KEYS
        for name in ("store", "encoding", "workload", "experiment", "tables")
    },
    "labkit/settings": ["tests/settings", "tests/engine/test_keys.py"],
    "labkit/tunnel/link.py": ["tests/tunnel/test_link.py"],
}
"""The areas, and the tests of each; a file belongs to the longest name that fits."""

LEFT_OUT = {f"labkit/evidence/{name}.py" for name in ("agent_parts", "phrasings", "turn_rules")}
"""Tested where their agents are: those tests load a model."""

_TRIED = re.compile(
    r"""NumberReplacer | AddNot | ReplaceAndWithOr | ReplaceOrWithAnd | ReplaceTrueWithFalse
    | ReplaceFalseWithTrue | ReplaceBreakWithContinue | ReplaceContinueWithBreak
    | ZeroIterationForLoop | ReplaceUnaryOperator_\w+
    | ReplaceComparisonOperator_(Lt|LtE|Gt|GtE|Eq|NotEq|Is|IsNot)_(Lt|LtE|Gt|GtE|Eq|NotEq|IsNot)
    | ReplaceBinaryOperator_(Add|Sub|Mul|Div|FloorDiv)_(Add|Sub|Mul|Div)
    | ReplaceBinaryOperator_(BitOr|BitAnd|Sub)_(BitOr|BitAnd|Sub)
    """,
    re.VERBOSE,
)
"""Mistakes that somebody could make; nobody writes a shift for a sum."""


@dataclass(frozen=True)
class Mutant:
    """One change to one file: which occurrence of an operator's, and the line it is in."""

    file: str
    operator: str
    occurrence: int
    line: int

    def code(self, source: str) -> str | None:
        """The changed text of the file."""
        changed: str | None = mutate_code(source, _operator(self.operator), self.occurrence)
        return changed


def _operator(name: str) -> Any:
    return cosmic_ray.plugins.get_operator(name)()


def _not_run(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations and imports for types stand, from and to (line, column)."""
    found: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(node.returns)
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            found.append(node.annotation)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.append(node)
    return [
        ((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset))  # type: ignore[attr-defined]
        for n in found
        if n is not None
    ]


def mutants(file: str) -> Iterator[Mutant]:
    """Every mutant of a file, in order."""
    source = (ROOT / file).read_text(encoding="utf-8")
    left_out, tree = _not_run(source), get_ast(source)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        if not _TRIED.fullmatch(name.removeprefix("core/")):
            continue
        operator = _operator(name)
        places = (p for node in ast_nodes(tree) for p in operator.mutation_positions(node))
        for i, (start, _) in enumerate(places):
            if not any(a <= start < b for a, b in left_out):
                yield Mutant(file, name, i, start[0])


def area_of(file: str) -> str | None:
    """The area a file belongs to, None if it is not to be mutated."""
    if file in LEFT_OUT or file.endswith("__init__.py"):
        return None
    fits = [a for a in TESTS if file == a or file.startswith(f"{a}/")]
    return max(fits, key=len, default=None)


def copy(to: Path) -> Path:
    """A copy of the checkout to make mistakes in; what is only read is linked."""
    tree = to / "tree"
    tree.mkdir()
    for name in ("labkit", "tests"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in ("data", "notebooks", "figures", "pyproject.toml"):
        (tree / name).symlink_to(ROOT / name)
    # by content: two mutants of a line have the same length and the same second
    how = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(tree, quiet=1, invalidation_mode=how)
    return tree


def passes(tree: Path, tests: list[str], timeout_s: float) -> bool:
    """Whether the tests pass in the copy; what hangs does not."""
    own = {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(tree.parent / "cache")}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(
        command, cwd=tree, env={**os.environ, **own}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            return process.wait(timeout_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def try_area(area: str, files: list[str], n: int, seed: int, tree: Path) -> tuple[int, int]:
    """Tries the mutants of an area, prints the survivors; how many were caught of how many."""
    tests = TESTS[area]
    began = time.monotonic()
    if not passes(tree, tests, 600):
        raise SystemExit(f"{area}: its tests fail as they are: pytest {' '.join(tests)}")
    once_s = time.monotonic() - began
    every = [m for file in sorted(files) for m in mutants(file)]
    tried = every if n >= len(every) else random.Random(seed).sample(every, n)
    print(f"{area}: {len(tried)} of {len(every)} mutants, {once_s:.1f} s of tests each", flush=True)
    survivors = 0
    for mutant in tried:
        source = (ROOT / mutant.file).read_text(encoding="utf-8")
        changed = mutant.code(source)
        assert changed is not None, f"{mutant} is found and cannot be made"
        try:
            (tree / mutant.file).write_text(changed, encoding="utf-8")
            caught = not passes(tree, tests, 5 * once_s + 10)
        finally:
            (tree / mutant.file).write_text(source, encoding="utf-8")
        if not caught:
            survivors += 1
            pairs = zip(source.splitlines(), changed.splitlines(), strict=False)
            was, now = next((p for p in pairs if p[0] != p[1]), ("", ""))
            print(f"  {mutant.file}:{mutant.line} {mutant.operator.removeprefix('core/')}")
            print(f"    - {was.strip()}\n    + {now.strip()}", flush=True)
    caught_n = len(tried) - survivors
    share = caught_n / len(tried) if tried else 1.0
    print(f"{area}: {caught_n} of {len(tried)} caught, {share:.0%}\n", flush=True)
    return caught_n, len(tried)


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="files or folders of labkit/ (all areas)")
    parser.add_argument("--sample", type=int, default=60, help="mutants of an area (60)")
    parser.add_argument("--all", action="store_true", help="every mutant, which takes hours")
    parser.add_argument("--seed", type=int, default=7, help="of the sample (7)")
    parser.add_argument("--floor", type=float, default=0.0, help="share to be caught, 0 to 1 (0)")
    given = parser.parse_args()
    areas: dict[str, list[str]] = {}
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        wanted = [m.rstrip("/") for m in given.modules]
        if wanted and not any(file == m or file.startswith(f"{m}/") for m in wanted):
            continue
        if (area := area_of(file)) is not None:
            areas.setdefault(area, []).append(file)
    if not areas:
        raise SystemExit(f"{', '.join(given.modules)}: no such area; there are {', '.join(TESTS)}")
    with tempfile.TemporaryDirectory(prefix="labkit-mutants-") as folder:
        tree = copy(Path(folder))
        n = sys.maxsize if given.all else given.sample
        found = [try_area(a, files, n, given.seed, tree) for a, files in areas.items()]
    caught, tried = (sum(column) for column in zip(*found, strict=True))
    print(f"all areas: {caught} of {tried} caught, {caught / max(tried, 1):.0%}")
    return int(caught < given.floor * tried)


if __name__ == "__main__":
    sys.exit(main())
