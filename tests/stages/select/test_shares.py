"""Classes that a selection all but removes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualprune.core.sections import BalanceConfig
from dualprune.selection.engine.quotas import group_quotas
from dualprune.stages.select.shares import thin_classes, thin_in_words


def facts(kept: dict[str, int], sizes: dict[str, int] | None, **constraints: Any) -> dict[str, Any]:
    found = {"name": "s", "num_kept": sum(kept.values()), "constraints": constraints, "kept_per_class": kept}
    return found if sizes is None else {**found, "samples_per_class": sizes}


def test_a_class_below_a_third_of_its_share_is_thin() -> None:
    # Fashion-MNIST at 0.7, as it was measured: 1,415 of one class and 129 of another.
    kept = {"a": 1415, "b": 129, "c": 600, "d": 599}
    sizes = dict.fromkeys(kept, 2286)
    [thin] = thin_classes(facts(kept, sizes))
    assert (thin.name, thin.kept, thin.samples) == ("b", 129, 2286)
    assert thin.share == pytest.approx(2743 / 4)


def test_a_share_follows_the_size_of_the_class() -> None:
    assert thin_classes(facts({"many": 900, "few": 9}, {"many": 9000, "few": 90})) == []
    [thin] = thin_classes(facts({"many": 905, "few": 2}, {"many": 9000, "few": 90}))
    assert thin.name == "few"


def test_a_class_whose_share_is_less_than_a_sample_does_not_count() -> None:
    assert thin_classes(facts({"many": 10, "few": 0}, {"many": 1000, "few": 90})) == []


def test_a_quota_of_classes_is_what_was_asked_for() -> None:
    kept, sizes = {"a": 10, "b": 10}, {"a": 5000, "b": 10}
    assert thin_classes(facts(kept, sizes, balance={"by": "label", "quota": "equal"})) == []
    # A minimum, or a quota of other groups, leaves a class thin.
    for balance in ({"by": "label", "quota": "none", "minimum": 1}, {"by": "source", "quota": "equal"}):
        found = thin_classes(facts({"a": 1, "b": 9}, {"a": 50, "b": 50}, balance=balance))
        assert [thin.name for thin in found] == ["a"]


def test_older_selections_do_not_say() -> None:
    assert thin_in_words(facts({"a": 1, "b": 90}, None)) == []


def test_control_sequences_in_names_have_no_effect() -> None:
    [text] = thin_in_words(facts({"\x1b[31m": 1, "b": 90}, {"\x1b[31m": 100, "b": 100}))
    assert "\x1b" not in text


def test_many_thin_classes_are_counted() -> None:
    kept = {"all": 900, **{f"c{n}": n for n in range(5)}}
    [text] = thin_in_words(facts(kept, dict.fromkeys(kept, 1000)))
    assert "keeps 5 of 6 classes" in text
    assert "c0: 0 of 1,000, its share is 152; c1: 1 of 1,000, its share is 152; c2: 2" in text
    assert "and 2 more" in text


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.data())
def test_a_proportional_quota_has_no_thin_class(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, sum(sizes)))
    names, none = [str(n) for n in range(len(sizes))], np.zeros(len(sizes), dtype=np.int64)
    kept = group_quotas(BalanceConfig(quota="proportional"), names, np.array(sizes), none, count)
    by_class = dict(zip(names, kept.tolist(), strict=True))
    assert thin_classes(facts(by_class, dict(zip(names, sizes, strict=True)))) == []
