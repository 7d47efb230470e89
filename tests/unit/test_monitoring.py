"""Alert rules and dashboard: every expression parses, and names only metrics that a part of Mainstem exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from mainstem.runtime.metrics import names

COMPONENT = Path(__file__).parents[2] / "kustomize" / "components" / "monitoring"
DECLARED = {sample: metric for metric in names.ALL for sample in metric.samples}


def rules() -> list[dict[str, Any]]:
    """All alert rules."""
    groups = yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[tuple[str, str]]:
    """(title, expression) of each of the dashboard's queries, with Grafana's variables filled in."""
    board = json.loads((COMPONENT / "dashboard.json").read_text())
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "2m").replace("$namespace", "kafkaml"))
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of metrics in a parsed expression."""
    if isinstance(node, promql_parser.MatrixSelector):
        yield from selectors(node.vector_selector)
    elif isinstance(node, promql_parser.VectorSelector):
        yield node
    else:
        for name in ("expr", "lhs", "rhs", "param"):
            if (child := getattr(node, name, None)) is not None:
                yield from selectors(child)
        for child in getattr(node, "args", None) or ():
            yield from selectors(child)


def check(expression: str) -> None:
    """The expression parses, and its metrics and their labels are declared."""
    found = list(selectors(promql_parser.parse(expression)))
    assert found, expression
    for selector in found:
        assert selector.name in DECLARED, f"{selector.name} is exported by no part"
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= {*DECLARED[selector.name].labels, "le", "namespace", "pod"}, expression


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_alerts_name_metrics_that_exist(rule: dict[str, Any]) -> None:
    """Each alert's expression is PromQL over declared metrics and labels; it has a severity and says what to do."""
    check(rule["expr"])
    assert re.fullmatch(r"Mainstem[A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert len(rule["annotations"]["summary"]) > 10 and len(rule["annotations"]["description"]) > 10


@pytest.mark.parametrize(("title", "expression"), panels(), ids=lambda value: value[:40])
def test_panels_name_metrics_that_exist(title: str, expression: str) -> None:
    """Each query of the dashboard is PromQL over declared metrics and labels."""
    check(expression)


def test_an_unknown_metric_is_found() -> None:
    """The check itself finds a metric that nobody exports, however deep in an expression it stands."""
    with pytest.raises(AssertionError, match="mainstem_nothing"):
        check("sum(rate(mainstem_http_requests_total[5m])) > 2 * max by (x) (increase(mainstem_nothing_total[5m]))")


def test_every_metric_is_used_by_an_alert_or_a_panel() -> None:
    """What nobody looks at need not be exported."""
    expressions = [rule["expr"] for rule in rules()] + [expression for _, expression in panels()]
    used = {selector.name for text in expressions for selector in selectors(promql_parser.parse(text))}
    unused = {metric.name for metric in names.ALL if not used & set(metric.samples)}
    assert unused == EXTRA, "tell in EXTRA why a metric is exported that neither alerts nor panels use"


EXTRA = {
    "mainstem_relay_bytes",  # with the records: how large they are
    "mainstem_relay_failures",  # what `mainstem_relay_behind_seconds` is caused by
    "mainstem_loop_failures",
    "mainstem_inferences",  # why one fails is on its page; whether that is urgent, only its users know
    "mainstem_federation_round_age_seconds",  # a deadline's worth is normal, so no threshold fits all
    "mainstem_operator_reconciles",  # where the operator is installed
}
