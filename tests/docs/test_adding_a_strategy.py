"""CONTRIBUTING.md's steps to a new strategy, taken as they are printed: its file, its names, its test."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from mainstem.aggregation.strategies import fold, presets
from mainstem.errors import ConfigError
from mainstem.protocol.messages import StrategyChoice
from tests.docs.blocks import Block, blocks_of
from tests.support import strategies as formulas
from tests.unit import test_choices as beside

NAME = "mainstem.aggregation.strategies.fold.mean_around_median"


def module_of(block: Block, name: str, at: Path, **around: object) -> ModuleType:
    """A block as a module, which sees what stands around it in its file."""
    file = at / f"{name.rpartition('.')[2]}.py"
    file.write_text(block.text)
    return loaded(name, file, **around)


def loaded(name: str, file: Path, **around: object) -> ModuleType:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    vars(module).update(around)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_steps_lead_to_a_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test of the page passes with the page's file and its names; they would not without."""
    file, test = (block for block in blocks_of("CONTRIBUTING.md") if block.language == "python")
    for name in (NAME, "its_test", "its_formula"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # so that what is put there goes with this test
    added = module_of(file, NAME, tmp_path).MeanAroundMedian
    around = {name: value for name, value in vars(beside).items() if not name.startswith("__")}
    tests = module_of(test, "its_test", tmp_path, **around)
    named = [value for name, value in vars(tests).items() if name.startswith("test_mean_around") and callable(value)]
    assert len(named) == len(re.findall(r"^def test_", test.text, re.MULTILINE)) == 2
    with pytest.raises(ConfigError, match="is not known"):
        named[-1]()
    monkeypatch.setitem(dict_of(fold.FOLDS), added.name, added)
    custom = presets.STRATEGIES["custom"]
    free = {**custom.free, "fold": tuple(fold.FOLDS)}
    monkeypatch.setitem(dict_of(presets.STRATEGIES), "custom", replace(custom, free=free))
    (line,) = re.findall(r'"mean_around_median": (Preset\(.*?\n\)),', lines_of("diff"), re.DOTALL)
    monkeypatch.setitem(dict_of(presets.STRATEGIES), added.name, eval(line, {"Preset": presets.Preset}))
    for run in named:
        run()
    source = inspect.getsource(formulas)
    (case,) = re.findall(
        r'^        case "mean_around.*?\.mean\(axis=0\)\n', lines_of("diff", 0) + "\n", re.DOTALL | re.MULTILINE
    )
    (tmp_path / "formulas.py").write_text(source.replace('    match p["fold"]:\n', f'    match p["fold"]:\n{case}'))
    monkeypatch.setattr(beside, "naive", loaded("its_formula", tmp_path / "formulas.py").naive)
    assert beside.compared(StrategyChoice(name=added.name, params={"hostile": 2}), 1, 2, 2)


def lines_of(language: str, indent: int = 4) -> str:
    """What the page's blocks of that language add, without so many blanks before each line."""
    added = "\n".join(block.text for block in blocks_of("CONTRIBUTING.md") if block.language == language)
    return "\n".join(line.removeprefix("+").removeprefix(" " * indent) for line in added.splitlines())


def dict_of(registry: object) -> dict[str, object]:
    """A registry as what it is."""
    assert isinstance(registry, dict)
    return registry
