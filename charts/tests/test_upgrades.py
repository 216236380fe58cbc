"""Upgrades: `--reuse-values` replaces the chart's defaults by an older release's values."""

import itertools

import pytest
import yaml

from chart import CHART, VALUE_SETS, container, objects, only, rendered, values_file, with_chart_values

MARK = "valuesVersion"
# own-objects removes defaults with null. Values of another chart's release do not show that, so the
# defaults return.
WITHOUT_NULLS = [name for name in VALUE_SETS if name != "own-objects"]
# Values that were added after the first version of this chart.
LATER = ["valuesVersion", "envFrom", "restartOnChange", "commonLabels", "deploymentAnnotations", "revisionHistoryLimit",
         "hostAliases", "dnsPolicy", "podDnsConfig", "extraInitContainers", "extraContainers", "lifecycle", "extraObjects",
         "auditStorage", "jobs"]
LATER_BELOW = {"config": ["virtualHostDomains"], "networkPolicy": ["metricsNamespaces"], "grafanaDashboard": ["label"],
               "tests": ["bucket", "existingSecret", "host", "caSecret"]}
INTRINSEC = values_file("intrinsec-1.9").read_text()


def rendered_with(folder, values, *arguments):
    result = with_chart_values(folder, yaml.safe_dump(values), *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def test_the_marks_version_is_the_charts():
    assert defaults()[MARK] == yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]


def test_every_template_adds_missing_values_first():
    templates = [path for path in (CHART / "templates").rglob("*") if path.is_file() and path.suffix != ".tpl"]
    assert len(templates) > 15
    assert not [path.name for path in templates
                if not path.read_text().startswith('{{- include "s3proxy.defaults" . -}}\n')]


@pytest.mark.parametrize("name", WITHOUT_NULLS)
def test_without_any_default_of_the_charts_the_result_is_the_same(name, tmp_path):
    assert rendered_with(tmp_path, {}, "--values", values_file(name)) == rendered(name)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_with_the_defaults_of_the_first_version_the_result_is_the_same(name, tmp_path):
    first = {key: value for key, value in defaults().items() if key not in LATER}
    for section, keys in LATER_BELOW.items():
        first[section] = {key: value for key, value in first[section].items() if key not in keys}
    assert rendered_with(tmp_path, first, "--values", values_file(name)) == rendered(name)


# Users remove defaults from these with null, and the chart does not restore them.
REMOVABLE = ["startupProbe", "livenessProbe", "readinessProbe", "podSecurityContext", "securityContext", "resources"]


def thinned(values, keep):
    """Nested values without some of them; `keep` is called for each."""
    return {key: value if key in REMOVABLE else thinned(value, keep) if isinstance(value, dict) else value
            for key, value in values.items() if isinstance(value, dict) or keep()}


@pytest.mark.parametrize("turn", range(3))
def test_a_release_that_lacks_two_values_of_three_gets_their_defaults(turn, tmp_path):
    """Some values are missing in every section, as in a release that is older than they are."""
    count = itertools.count(turn)
    older = thinned({key: value for key, value in defaults().items() if key != MARK}, lambda: next(count) % 3 == 0)
    assert rendered_with(tmp_path, older, "--values", values_file("existing-secret")) == rendered("existing-secret")


def test_values_that_an_older_release_had_stay_false_and_empty(tmp_path):
    older = {"podDisruptionBudget": {"enabled": False}, "topologySpread": {"enabled": False}, "image": "registry.example/a:1",
             "resources": {"limits": {}, "requests": {}}, "drain": {"delaySeconds": 0}}
    found = objects(rendered_with(tmp_path, older, "--values", values_file("existing-secret")))
    assert not [each for each in found if each["kind"] == "PodDisruptionBudget"]
    pod = only(found, "Deployment")["spec"]["template"]["spec"]
    assert "topologySpreadConstraints" not in pod and pod["terminationGracePeriodSeconds"] == 120
    assert container(found)["image"] == "registry.example/a:1"
    assert container(found)["resources"] == {"limits": {"memory": "256Mi"}, "requests": {"cpu": "250m", "memory": "128Mi"}}


def test_a_release_of_intrinsecs_chart_is_upgraded_with_reused_values(tmp_path):
    values = yaml.safe_load(INTRINSEC)
    (tmp_path / "values.yaml").write_text(INTRINSEC)
    reused = rendered_with(tmp_path, values)
    found = objects(reused)
    environment = {each["name"]: each.get("value") for each in container(found)["env"]}
    assert environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].endswith(":4318/v1/traces")
    assert environment["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=Bearer token"
    assert environment["S3PROXY_HOST"] == "s3.fr-par.scw.cloud"
    # With values.yaml as the base, as for `helm upgrade --values` and `--reset-then-reuse-values`.
    with_defaults = with_chart_values(tmp_path, yaml.safe_dump(defaults()), "--values", tmp_path / "values.yaml")
    assert with_defaults.stdout == reused, with_defaults.stderr


def intrinsec(tmp_path):
    return objects(rendered_with(tmp_path, yaml.safe_load(INTRINSEC)))


def test_intrinsecs_certificate_keeps_the_services_name(tmp_path):
    """That chart adds the Service's name if no DNS name is given."""
    names = only(intrinsec(tmp_path), "Certificate")["spec"]["dnsNames"]
    assert {"s3.example.com", "s3proxy.storage.svc.cluster.local"} <= set(names)


def test_intrinsecs_service_monitor_scrapes_the_admin_port(tmp_path):
    [endpoint] = only(intrinsec(tmp_path), "ServiceMonitor")["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["scheme"], endpoint["interval"]) == ("admin", "http", "30s")
    assert "tlsConfig" not in endpoint


def test_intrinsecs_limits_of_alerts_count(tmp_path):
    rules = {rule["alert"]: rule for group in only(intrinsec(tmp_path), "PrometheusRule")["spec"]["groups"]
             for rule in group["rules"]}
    assert rules["S3ProxyErrors"]["expr"].endswith("> 0.02") and rules["S3ProxyErrors"]["for"] == "7m"
    assert rules["S3ProxySlow"]["expr"].endswith("> 3") and rules["S3ProxyDown"]["for"] == "2m"


def test_intrinsecs_dashboard_reaches_grafana_operator(tmp_path):
    found = only(intrinsec(tmp_path), "GrafanaDashboard")
    assert found["metadata"]["labels"]["team"] == "storage"
    assert found["metadata"]["annotations"] == {"example.com/owner": "storage"}
    assert found["spec"]["instanceSelector"] == {"matchLabels": {"dashboards": "grafana"}}
    assert found["spec"]["allowCrossNamespaceImport"] is True


def test_the_sidecars_label_of_intrinsecs_chart_1_8(tmp_path):
    values = yaml.safe_load(INTRINSEC)
    values["grafanaDashboard"] = {"enabled": True, "label": "dashboards"}
    found = objects(rendered_with(tmp_path, values))
    assert only(found, "ConfigMap")["metadata"]["labels"]["dashboards"] == "1"


def test_a_release_of_constellations_chart_is_upgraded_with_reused_values(tmp_path):
    values = yaml.safe_load(values_file("constellation").read_text())
    assert rendered_with(tmp_path, values) == rendered("constellation")
