"""The network policies, evaluated as a network plugin does: which peers reach which port?

A small evaluator of NetworkPolicy ingress: peers are alternatives, the selectors of one peer have
to match together, and a pod that no policy selects is open to all.
"""

import pytest

from chart import notes, only, values_file
from test_jobs import pod as job_pod
from test_values import merged, with_values

POLICY = {"networkPolicy": {"enabled": True, "metricsNamespaces": ["monitoring"]}}
RELEASE = {"app.kubernetes.io/name": "s3proxy", "app.kubernetes.io/instance": "s3proxy"}

TEST_LABELS = {"app.kubernetes.io/name": "s3proxy-test", "app.kubernetes.io/instance": "s3proxy"}


def matches(selector, labels):
    for requirement in selector.get("matchExpressions", []):
        assert requirement["operator"] == "In"
        if labels.get(requirement["key"]) not in requirement["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(peer, policy, namespace, labels):
    assert peer.keys() <= {"namespaceSelector", "podSelector"}
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace}):
            return False
    elif namespace != policy["metadata"]["namespace"]:
        return False
    return matches(peer.get("podSelector", {}), labels)


def reaches(found, port, namespace, labels, target):
    """Whether a pod with these labels reaches a port of a pod with the target's labels."""
    policies = [each for each in found if each["kind"] == "NetworkPolicy"
                and matches(each["spec"]["podSelector"], target) and "Ingress" in each["spec"]["policyTypes"]]
    return not policies or any(
        port in [each["port"] for each in rule["ports"]] and any(is_peer(peer, policy, namespace, labels) for peer in rule["from"])
        for policy in policies for rule in policy["spec"].get("ingress", []))


def proxy(found):
    return only(found, "Deployment")["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize(("namespace", "labels", "ports"), [
    ("storage", {"app": "client"}, {"s3"}),
    ("default", {"app": "client"}, set()),
    ("monitoring", {"app": "prometheus"}, {"admin"}),
    ("storage", RELEASE, {"s3"}),
    ("default", {"app.kubernetes.io/name": "s3proxy-test", "app.kubernetes.io/instance": "s3proxy"}, set()),
])
def test_who_reaches_the_proxies(namespace, labels, ports):
    found = with_values(POLICY)
    assert {port for port in ("s3", "admin") if reaches(found, port, namespace, labels, proxy(found))} == ports


def test_clients_elsewhere_are_named_and_helm_test_still_gets_in():
    found = with_values(merged(POLICY, {"networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {
        "kubernetes.io/metadata.name": "apps"}}}]}}))
    tester = only(found, "Pod")["metadata"]["labels"]
    assert reaches(found, "s3", "apps", {}, proxy(found))
    assert reaches(found, "s3", "storage", tester, proxy(found))
    assert not reaches(found, "s3", "storage", {"app": "client"}, proxy(found))
    assert not reaches(found, "admin", "storage", tester, proxy(found))


@pytest.mark.parametrize("command", ["verify", "rewrap", "migrate", "sweep"])
def test_rewrap_alone_reaches_the_admin_port_and_nobody_reaches_a_job(command):
    found = with_values(merged(POLICY, {"jobs": {command: {"enabled": True, "schedule": "", "buckets": ["a"]}}}))
    job = job_pod(found)["metadata"]["labels"]
    assert reaches(found, "admin", "storage", job, proxy(found)) == (command == "rewrap")
    assert not [port for port in ("s3", "admin") if reaches(found, port, "storage", RELEASE, job)]


def test_without_a_policy_everybody_reaches_the_admin_port():
    found = with_values({})
    assert reaches(found, "admin", "default", {}, proxy(found))


def test_a_network_policy_without_peers_lets_nobody_to_the_admin_port():
    found = with_values({"networkPolicy": {"enabled": True}})
    [rule] = only(found, "NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == ["s3"]
    assert rule["from"] == [{"podSelector": {}}, {"podSelector": {"matchLabels": TEST_LABELS}}]


def test_only_the_named_namespaces_may_scrape():
    found = with_values({"networkPolicy": {"enabled": True, "metricsNamespaces": ["monitoring", "platform"]}})
    admin = only(found, "NetworkPolicy")["spec"]["ingress"][1]
    assert [each["port"] for each in admin["ports"]] == ["admin"]
    assert admin["from"] == [{"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring", "platform"]}]}}]


@pytest.mark.parametrize(("host", "port"), [
    ("s3.eu-west-1.amazonaws.com", 443), ("https://ceph.example.com:8080", 8080), ("http://minio", 80),
    ("minio:9000", 9000), ("http://[fd00::1]:9000/", 9000),
])
def test_a_network_policy_lets_the_proxy_out_to_the_backends_port(host, port):
    found = with_values({"config": {"host": host}, "networkPolicy": {"enabled": True}})
    assert [each["port"] for each in only(found, "NetworkPolicy")["spec"]["egress"][1]["ports"]] == [port]


@pytest.mark.parametrize(("config", "port"), [
    ({"otlpEndpoint": "http://collector.observability:4318"}, 4318),
    ({"otlpEndpoint": "http://collector:4317", "otlpTracesEndpoint": "https://traces.example.com/v1/traces"}, 443),
    ({"kms": "key-service.kube-system:9000"}, 9000),
])
def test_a_network_policy_lets_the_proxy_out_to_services_that_values_name(config, port):
    found = with_values({"config": config, "networkPolicy": {"enabled": True}})
    assert only(found, "NetworkPolicy")["spec"]["egress"][-1] == {"ports": [{"port": port, "protocol": "TCP"}]}


def test_notes_recommend_a_network_policy_only_where_there_is_none(tmp_path):
    options = ("--values", values_file("existing-secret"))
    assert "RECOMMENDED: networkPolicy.enabled=true" in notes(tmp_path, *options)
    options += ("--set", "networkPolicy.enabled=true")
    closed = notes(tmp_path, *options)
    assert "RECOMMENDED" not in closed and "lets nobody scrape" in closed
    assert "scrape" not in notes(tmp_path, *options, "--set", "networkPolicy.metricsNamespaces={monitoring}")
