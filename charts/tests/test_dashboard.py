"""The dashboard: Grafana's own types accept it, and a real Prometheus answers each of its queries.

No available registry has Grafana itself. The dashboard is compiled against its published types
instead: they know every field of a dashboard and of the two kinds of panels here.
"""

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
import yaml

from chart import CHART, ROOT, TOOLS, run

DASHBOARD = json.loads((CHART / "files/dashboard.json").read_text())
ALERTS = (CHART / "files/alerts.yaml").read_text()
GENERATED = "@grafana/schema/dist/esm/raw/composable"
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
LABELS = 'job="s3proxy",namespace="storage",instance="10.0.0.1:9090"'
BUCKETS = ["0.001", "0.1", "1", "10", "+Inf"]

# One or two series of every metric, as the program exports them (docs/metrics.md).
COUNTERS = {
    "s3proxy_requests": ['operation="GetObject",status="200",client="app"', 'operation="GetObject",status="503",client="app"'],
    "s3proxy_received_bytes": ['operation="PutObject"'],
    "s3proxy_sent_bytes": ['operation="GetObject"'],
    "s3proxy_seal_failures": ['kind="key_service"'],
    "s3proxy_open_failures": ['kind="tampered"'],
    "s3proxy_plaintext_reads": [""],
    "s3proxy_legacy_reads": ['format="intrinsec"'],
    "s3proxy_key_service_calls": ['service="vault",call="open",result="ok"'],
    "s3proxy_key_cache_hits": [""],
    "s3proxy_key_cache_misses": [""],
    "s3proxy_backend_requests": ['operation="GetObject",status="200"'],
    "s3proxy_backend_retries": ['reason="slow_down"'],
    "s3proxy_config_reloads": ['result="success"'],
    "s3proxy_throttled": ['limit="rate"'],
    "s3proxy_audit_lost": [""],
    "s3proxy_panics": [""],
    "s3proxy_connections_evicted": ['reason="idle"'],
    "s3proxy_key_service_calls_withheld": ['service="vault"'],
    "process_cpu_seconds": [""],
}
GAUGES = {
    "up": 1, "s3proxy_requests_in_flight": 3, "s3proxy_connections": 5, "s3proxy_build_info": 1,
    "s3proxy_certificate_expiry_timestamp_seconds": 4e9, "s3proxy_config_last_reload_successful": 1,
    "s3proxy_config_last_reload_success_timestamp_seconds": 1.7e9,
    "s3proxy_body_memory_bytes": 1e6, "s3proxy_body_memory_limit_bytes": 5e7, "process_resident_memory_bytes": 2e7,
    "s3proxy_active_key_info": 1, "s3proxy_requests_under_key": 2, "s3proxy_key_service_breakers_open": 1,
}
HISTOGRAMS = {
    "s3proxy_request_seconds": 'operation="GetObject"',
    "s3proxy_backend_seconds": 'operation="GetObject"',
    "s3proxy_key_service_seconds": 'service="vault",call="open"',
}


def joined(labels, *more):
    return ",".join(each for each in (LABELS, labels, *more) if each)


def samples(end):
    times = range(end - 1800, end + 1, 15)
    for name, kinds in COUNTERS.items():
        yield f"# TYPE {name} counter"
        for labels in kinds:
            yield from (f"{name}_total{{{joined(labels)}}} {number} {moment}" for number, moment in enumerate(times))
    for name, value in GAUGES.items():
        yield f"# TYPE {name} gauge"
        yield from (f"{name}{{{LABELS}}} {value} {moment}" for moment in times)
    for name, labels in HISTOGRAMS.items():
        yield f"# TYPE {name} histogram"
        for number, bound in enumerate(BUCKETS):
            yield from (f'{name}_bucket{{{joined(labels, f"le={json.dumps(bound)}")}}} {count * number} {moment}'
                        for count, moment in enumerate(times))
    yield "# EOF"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus with half an hour of samples, as a function that runs a query."""
    folder = tmp_path_factory.mktemp("prometheus")
    end = int(time.time()) - 60
    (folder / "samples").write_text("\n".join(samples(end)) + "\n")
    made = run(TOOLS / "bin/promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "samples", folder / "data")
    assert made.returncode == 0, made.stdout + made.stderr
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 15s}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [TOOLS / "bin/prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def ask(query):
        form = urllib.parse.urlencode({"query": query, "time": end}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query", form, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def with_variables(expression):
    for name, value in (("$__rate_interval", "5m"), ("$job", "s3proxy"), ("$namespace", ".*"), ("$instance", ".*")):
        expression = expression.replace(name, value)
    return expression


def test_prometheus_answers_every_query_with_numbers(prometheus):
    empty = []
    for title, expression in QUERIES:
        result = prometheus(with_variables(expression))
        if not result or any(each["value"][1] in ("NaN", "+Inf", "-Inf") for each in result):
            empty.append((title, expression, result))
    assert not empty


def test_a_query_for_what_does_not_exist_is_seen_as_empty(prometheus):
    assert not prometheus('sum(rate(s3proxy_no_such_thing_total{job="s3proxy"}[5m]))')


def test_every_panel_is_in_its_place_and_says_what_it_shows():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_variables_are_declared_and_used():
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(PANELS)
    used = set(re.findall(r"\$\{?(\w+)\}?", text)) - {"__rate_interval"}
    assert used == declared


def names(text):
    return set(re.findall(r"\b(?:s3proxy|process)_[a-z_]+\b", text))


def series_of_samples():
    return ({f"{name}_total" for name in COUNTERS} | set(GAUGES)
            | {f"{name}{suffix}" for name in HISTOGRAMS for suffix in ("", "_bucket", "_sum", "_count")})


def expressions():
    rules = [rule["expr"] for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]
    return [*rules, *(expression for _, expression in QUERIES)]


def test_alerts_and_dashboard_name_series_of_the_samples_only():
    assert names(" ".join(expressions())) <= series_of_samples()


def test_the_program_has_every_series_of_the_samples():
    page = ROOT / "docs/metrics.md"
    if not page.exists():
        pytest.skip("docs/metrics.md is not there yet")
    documented = names(page.read_text())
    wanted = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in series_of_samples()} - {"up"}
    assert wanted <= documented, wanted - documented


def test_every_metric_of_the_program_is_on_the_dashboard_or_in_an_alert():
    page = ROOT / "docs/metrics.md"
    if not page.exists():
        pytest.skip("docs/metrics.md is not there yet")
    declared = set(re.findall(r"(?m)^\|?\s*#*\s*`(s3proxy_[a-z_]+)`", page.read_text()))
    shown = {name.removesuffix("_bucket") for name in names(" ".join(expressions()))}
    assert declared - shown <= {"s3proxy_config_last_reload_success_timestamp_seconds"}


def typescript():
    """The dashboard as constants of Grafana's types, whose enums are strings in JSON."""
    lines = [
        'import type { Dashboard } from "@grafana/schema";',
        f'import type {{ Options as TimeseriesOptions, FieldConfig as TimeseriesField }} from "{GENERATED}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";',
        f'import type {{ Options as StatOptions }} from "{GENERATED}/stat/panelcfg/x/StatPanelCfg_types.gen";',
        "type Plain<T> = unknown extends T ? T : T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]"
        " : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;",
        f"export const dashboard: Plain<Dashboard> = {json.dumps(DASHBOARD)};",
    ]
    for panel in PANELS:
        kind = panel["type"].capitalize()
        lines.append(f'export const options{panel["id"]}: Plain<{kind}Options> = {json.dumps(panel["options"])};')
        custom = panel["fieldConfig"]["defaults"].get("custom")
        if custom:
            lines.append(f'export const field{panel["id"]}: Plain<{kind}Field> = {json.dumps(custom)};')
    return "\n".join(lines) + "\n"


def compiled(text, name):
    source = TOOLS / "types" / f"{name}.ts"
    source.write_text(text)
    return run(TOOLS / "types/node_modules/.bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext",
               "--moduleResolution", "nodenext", source)


def test_grafanas_types_take_the_dashboard():
    result = compiled(typescript(), "dashboard")
    assert result.returncode == 0, result.stdout


def test_grafanas_types_refuse_a_misspelt_field():
    broken = typescript().replace('"gridPos": {"x"', '"gridPosition": {"x"').replace('"drawStyle": "line"', '"drawStyle": "lines"')
    result = compiled(broken, "broken")
    assert result.returncode != 0 and "gridPosition" in result.stdout and '"lines"' in result.stdout
