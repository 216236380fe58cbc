#!/usr/bin/env python3
"""Writes charts/s3proxy/files/dashboard.json, Grafana's dashboard for s3proxy.

The dashboard is generated because a panel has 60 lines of JSON and one line of meaning. Run this
after a change; charts/check compares the result. Grafana 10 and newer read it.
"""

import json
import pathlib

OUTPUT = pathlib.Path(__file__).parent / "s3proxy/files/dashboard.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The selector of every series: the chart's ServiceMonitor sets this job.
WHERE = 'job=~"$job",namespace=~"$namespace",instance=~"$instance"'

ALTERED = 'kind=~"tampered|truncated|malformed|wrong_key"'
FAILED = 'status=~"5.."'


def series(name, labels=""):
    return f"{name}{{{WHERE}{',' + labels if labels else ''}}}"


def rate(name, by="", labels=""):
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({series(name, labels)}[$__rate_interval]))"


def quantile(q, name, by="", labels=""):
    groups = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({groups}) (rate({series(name + '_bucket', labels)}[$__rate_interval])))"


class Layout:
    """Places panels from left to right, 24 units to a row."""

    def __init__(self):
        self.panels, self.x, self.y, self.height = [], 0, 0, 0

    def place(self, panel, width, height):
        if self.x + width > 24:
            self.x, self.y = 0, self.y + self.height
            self.height = 0
        panel["gridPos"] = {"x": self.x, "y": self.y, "w": width, "h": height}
        panel["id"] = len(self.panels) + 1
        self.x += width
        self.height = max(self.height, height)
        self.panels.append(panel)

    def row(self, title):
        if self.x:
            self.x, self.y, self.height = 0, self.y + self.height, 0
        self.place({"type": "row", "title": title, "collapsed": False, "panels": []}, 24, 1)


def targets(queries, kind):
    return [
        {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "expr": expression,
            "legendFormat": legend,
            "instant": kind == "stat",
            "range": kind != "stat",
        }
        for number, (expression, legend) in enumerate(queries)
    ]


def thresholds(steps):
    return {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for value, color in steps],
    }


def stat(title, description, unit, queries, steps, decimals=None):
    defaults = {"unit": unit, "thresholds": thresholds(steps), "color": {"mode": "thresholds"}}
    if decimals is not None:
        defaults["decimals"] = decimals
    return {
        "type": "stat",
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets(queries, "stat"),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    }


def graph(title, description, unit, queries, stacked=False, low=0, high=None):
    defaults = {
        "unit": unit,
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        },
    }
    if low is not None:
        defaults["min"] = low
    if high is not None:
        defaults["max"] = high
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets(queries, "timeseries"),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


GOOD, WARN, BAD = "green", "orange", "red"


def ratio(part, whole):
    """A ratio that is zero, not missing, if nothing happened."""
    return f"({part}) / ({whole} > 0) or vector(0)"


def overview(layout):
    layout.row("Now")
    small = [
        stat("Replicas", "Replicas that respond to scrapes.", "none",
             [(f'count({series("s3proxy_build_info")})', "")], [(None, BAD), (1, WARN), (2, GOOD)]),
        stat("Requests", "Per second, over all replicas.", "reqps",
             [(rate("s3proxy_requests_total"), "")], [(None, GOOD)]),
        stat("Failing", "Share of responses with 5xx.", "percentunit",
             [(ratio(rate("s3proxy_requests_total", labels=FAILED), rate("s3proxy_requests_total")), "")],
             [(None, GOOD), (0.01, WARN), (0.05, BAD)], 2),
        stat("Open failures", "Stored objects found altered or damaged within a day. Should be none.",
             "none",
             [(f'sum(increase({series("s3proxy_open_failures_total", ALTERED)}[24h])) or vector(0)', "")],
             [(None, GOOD), (0.5, BAD)], 0),
        stat("In flight", "Requests that are being served.", "none",
             [(f'sum({series("s3proxy_requests_in_flight")})', "")], [(None, GOOD)]),
        stat("Memory for bodies", "The fullest replica's share of limits.body_memory.", "percentunit",
             [(f'max({series("s3proxy_body_memory_bytes")} / {series("s3proxy_body_memory_limit_bytes")})', "")],
             [(None, GOOD), (0.7, WARN), (0.9, BAD)], 0),
        stat("Certificate", "Days until the first one expires.", "d",
             [(f'(min({series("s3proxy_certificate_expiry_timestamp_seconds")}) - time()) / 86400', "")],
             [(None, BAD), (14, WARN), (30, GOOD)], 0),
        stat("Configuration", "1: every replica loaded the last change. 0: one refused it.", "none",
             [(f'min({series("s3proxy_config_last_reload_successful")})', "")], [(None, BAD), (1, GOOD)], 0),
    ]
    for panel in small:
        layout.place(panel, 3, 4)


def requests(layout):
    layout.row("Requests")
    layout.place(graph("By operation", "Completed requests per second.", "reqps",
                       [(rate("s3proxy_requests_total", "operation"), "{{operation}}")], stacked=True), 12, 8)
    layout.place(graph("By status", "aborted: cut off by the proxy or the backend; client_left: by the client.", "reqps",
                       [(rate("s3proxy_requests_total", "status"), "{{status}}")], stacked=True), 12, 8)
    layout.place(graph("Failing, by operation", "Share of responses with 5xx.", "percentunit",
                       [(f'{rate("s3proxy_requests_total", "operation", FAILED)} / {rate("s3proxy_requests_total", "operation")}',
                         "{{operation}}")], high=1), 12, 8)
    layout.place(graph("By client", "Listed clients by name; anonymous and unknown for all others.", "reqps",
                       [(rate("s3proxy_requests_total", "client"), "{{client}}")], stacked=True), 12, 8)
    layout.place(graph("Time of all requests", "From the request head to the last byte of the response. Large objects take long.",
                       "s", [(quantile(q, "s3proxy_request_seconds"), f"{q:g}") for q in (0.5, 0.9, 0.99)]), 12, 8)
    layout.place(graph("Time by operation, 90th percentile", "", "s",
                       [(quantile(0.9, "s3proxy_request_seconds", "operation"), "{{operation}}")]), 12, 8)
    layout.place(graph("Bytes", "From clients, and to them.", "Bps",
                       [(rate("s3proxy_received_bytes_total"), "received"), (rate("s3proxy_sent_bytes_total"), "sent")]), 12, 8)
    layout.place(graph("In flight and connections", "By replica.", "none",
                       [(f'sum by (instance) ({series("s3proxy_requests_in_flight")})', "in flight, {{instance}}"),
                        (f'sum by (instance) ({series("s3proxy_connections")})', "connections, {{instance}}")]), 12, 8)


def limits(layout):
    layout.row("Limits and resources")
    layout.place(graph("Throttled", "Requests per second that got SlowDown, by limit.", "reqps",
                       [(rate("s3proxy_throttled_total", "limit"), "{{limit}}")], stacked=True), 8, 8)
    layout.place(graph("Memory for bodies", "By replica, beside the limit.", "bytes",
                       [(f'sum by (instance) ({series("s3proxy_body_memory_bytes")})', "{{instance}}"),
                        (f'max({series("s3proxy_body_memory_limit_bytes")})', "limit")]), 8, 8)
    layout.place(graph("Resident memory", "By replica.", "bytes",
                       [(f'sum by (instance) ({series("process_resident_memory_bytes")})', "{{instance}}")]), 8, 8)
    layout.place(graph("CPU", "Cores, by replica.", "none",
                       [(f'sum by (instance) (rate({series("process_cpu_seconds_total")}[$__rate_interval]))', "{{instance}}")]), 8, 8)
    layout.place(graph("Lost lines of the audit log", "Within five minutes. Should be none.", "none",
                       [(f'sum(increase({series("s3proxy_audit_lost_total")}[5m]))', "lost")]), 8, 8)
    layout.place(graph("Reloads of the configuration", "Within five minutes.", "none",
                       [(f'sum by (result) (increase({series("s3proxy_config_reloads_total")}[5m]))', "{{result}}")]), 8, 8)
    layout.place(graph("Evicted connections", "Per second, by reason: others needed their slot or memory.", "cps",
                       [(rate("s3proxy_connections_evicted_total", "reason"), "{{reason}}")], stacked=True), 12, 8)
    layout.place(graph("Panics", "Panics of requests and background tasks within five minutes. Each is a defect of the program.", "none",
                       [(f'sum(increase({series("s3proxy_panics_total")}[5m]))', "panics")]), 12, 8)


def backend(layout):
    layout.row("Backend")
    layout.place(graph("By status", "Requests per second to the backend, retries included.", "reqps",
                       [(rate("s3proxy_backend_requests_total", "status"), "{{status}}")], stacked=True), 12, 8)
    layout.place(graph("Time to the response head", "", "s",
                       [(quantile(q, "s3proxy_backend_seconds"), f"{q:g}") for q in (0.5, 0.9, 0.99)]), 12, 8)
    layout.place(graph("Time by operation, 90th percentile", "", "s",
                       [(quantile(0.9, "s3proxy_backend_seconds", "operation"), "{{operation}}")]), 12, 8)
    layout.place(graph("Retries", "Per second, by reason.", "reqps",
                       [(rate("s3proxy_backend_retries_total", "reason"), "{{reason}}")], stacked=True), 12, 8)


def sealing(layout):
    layout.row("Sealing and keys")
    layout.place(graph("Open failures", "Within five minutes, by kind. tampered, truncated, malformed and wrong_key: investigate at once.", "none",
                       [(f'sum by (kind) (increase({series("s3proxy_open_failures_total")}[5m]))', "{{kind}}")]), 8, 8)
    layout.place(graph("Seal failures", "Within five minutes, by kind. Such writes are refused.", "none",
                       [(f'sum by (kind) (increase({series("s3proxy_seal_failures_total")}[5m]))', "{{kind}}")]), 8, 8)
    layout.place(graph("Reads of plaintext and older formats", "Per second. Should fall to zero after a migration.", "reqps",
                       [(rate("s3proxy_plaintext_reads_total"), "plaintext"),
                        (rate("s3proxy_legacy_reads_total", "format"), "{{format}}")]), 8, 8)
    layout.place(graph("Calls to key services", "Per second, by result.", "reqps",
                       [(rate("s3proxy_key_service_calls_total", "service, call, result"), "{{service}} {{call}}: {{result}}")]), 8, 8)
    layout.place(graph("Time of key services, 99th percentile", "", "s",
                       [(quantile(0.99, "s3proxy_key_service_seconds", "service, call"), "{{service}} {{call}}")]), 8, 8)
    hits, misses = rate("s3proxy_key_cache_hits_total"), rate("s3proxy_key_cache_misses_total")
    layout.place(graph("Key cache hits", "Share of lookups.", "percentunit",
                       [(f"{hits} / ({hits} + {misses})", "hits")], high=1), 8, 8)
    layout.place(graph("Circuit breakers of key services", "Keys whose breaker is open after repeated failures, and withheld calls per second.",
                       "none",
                       [(f'sum by (service) ({series("s3proxy_key_service_breakers_open")})', "{{service}}: open breakers"),
                        (rate("s3proxy_key_service_calls_withheld_total", "service"), "{{service}}: calls withheld")]), 12, 8)
    layout.place(graph("Requests under each key", "In flight. Must be 0 under the old key before rewrap --check is reliable.", "none",
                       [(f'sum by (key) ({series("s3proxy_requests_under_key")})', "{{key}}")]), 12, 8)
    layout.place(graph("Replicas by active key", "Replicas that seal new objects under each key. Several keys for a long time mean different settings.",
                       "none", [(f'sum by (key) ({series("s3proxy_active_key_info")})', "{{key}}")]), 12, 8)


def variable(name, label, query, **more):
    return {
        "type": "query", "name": name, "label": label, "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"}, "refresh": 2, "sort": 1, **more,
    }


def everything(name, label, query):
    return variable(name, label, query, multi=True, includeAll=True, allValue=".*",
                    current={"selected": True, "text": ["All"], "value": ["$__all"]})


def dashboard():
    layout = Layout()
    for part in (overview, requests, limits, backend, sealing):
        part(layout)
    info = "s3proxy_build_info"
    return {
        "uid": "s3proxy",
        "title": "s3proxy",
        "description": "The encrypting proxy for S3: traffic, backend, keys, limits.",
        "tags": ["s3proxy"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
             "refresh": 1, "current": {"selected": False, "text": "", "value": ""}},
            variable("job", "Job", f"label_values({info}, job)",
                     current={"selected": True, "text": "s3proxy", "value": "s3proxy"}),
            everything("namespace", "Namespace", f'label_values({info}{{job=~"$job"}}, namespace)'),
            everything("instance", "Replica", f'label_values({info}{{job=~"$job",namespace=~"$namespace"}}, instance)'),
        ]},
        "panels": layout.panels,
    }


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(dashboard(), indent=2) + "\n")
