"""The alerts: Prometheus accepts them, they fire when they should, and their runbooks exist."""

import re

import pytest
import yaml

from chart import CHART, CHARTS, ROOT, TOOLS, objects, only, render, rendered, run, values_file

ALERTS = CHART / "files/alerts.yaml"
PROMTOOL = TOOLS / "bin/promtool"


def rules(text=None):
    return [rule for group in yaml.safe_load(text or ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_promtool_takes_the_plain_file():
    result = run(PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["production", "intrinsec-monitoring"])
def test_promtool_takes_what_the_chart_renders(name, tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(only(objects(rendered(name)), "PrometheusRule")["spec"]))
    result = run(PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal", path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_alerts_fire_when_they_should_and_only_then():
    result = run(PROMTOOL, "test", "rules", CHARTS / "tests/alerts.test.yaml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_case_in_which_it_fires():
    tested = {case["alertname"] for group in yaml.safe_load((CHARTS / "tests/alerts.test.yaml").read_text())["tests"]
              for case in group["alert_rule_test"] if case.get("exp_alerts")}
    assert {rule["alert"] for rule in rules()} == tested


def test_runbooks_are_sections_named_like_their_alerts():
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f'docs/operations.md#{rule["alert"].lower()}'


def test_the_runbooks_are_written():
    page = ROOT / "docs/operations.md"
    if not page.exists():
        pytest.skip("docs/operations.md is not there yet")
    headings = {heading.strip().lower() for heading in re.findall(r"(?m)^#+ (.*)$", page.read_text())}
    anchors = set(re.findall(r'<a (?:id|name)="([^"]+)"', page.read_text()))
    assert {rule["alert"].lower() for rule in rules()} <= headings | anchors


def chart_rules(values):
    base = yaml.safe_load(values_file("existing-secret").read_text())
    found = render({**base, "prometheusRule": {"enabled": True, **values}})
    return {rule["alert"]: rule for group in only(found, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]}


def test_the_chart_renders_the_file_unchanged_but_for_what_is_off():
    plain = {rule["alert"]: rule for rule in rules()}
    plain.pop("S3ProxyPlaintextReads")
    assert chart_rules({}) == plain


@pytest.mark.parametrize("alert", [
    "S3ProxyRestarting", "S3ProxyErrors", "S3ProxySlow", "S3ProxyBackendErrors", "S3ProxyBackendSlow",
    "S3ProxyKeyServiceFailing", "S3ProxyThrottling", "S3ProxyMemoryBudget", "S3ProxyCertificateExpires",
])
def test_a_limit_can_be_replaced(alert):
    before = {rule["alert"]: rule for rule in rules()}[alert]["expr"]
    after = chart_rules({"rules": {alert: {"threshold": 0.123}}})[alert]["expr"]
    assert re.sub(r"[\d.]+$", "", before) == re.sub(r"[\d.]+$", "", after)
    assert re.search(r"[<>] 0\.123$", after)


def test_limits_and_times_by_their_older_names():
    found = chart_rules({"thresholds": {"highErrorRate": 0.2, "crashes": 0}, "for": {"serviceDown": "9m"}})
    assert found["S3ProxyErrors"]["expr"].endswith("> 0.2")
    assert found["S3ProxyRestarting"]["expr"].endswith("> 0")
    assert found["S3ProxyDown"]["for"] == "9m"


def test_labels_and_runbooks_of_the_users():
    found = chart_rules({"alertLabels": {"team": "storage"}, "runbookUrl": "https://runbooks.example.com/s3proxy",
                         "rules": {"S3ProxyDown": {"severity": "page"}, "S3ProxySlow": {"enabled": False}}})
    assert found["S3ProxyDown"]["labels"] == {"severity": "page", "team": "storage"}
    assert found["S3ProxyDown"]["annotations"]["runbook_url"] == "https://runbooks.example.com/s3proxy#s3proxydown"
    assert "S3ProxySlow" not in found
