"""The network policies, judged as a network plugin judges them: who reaches which port?

A small evaluator of NetworkPolicy ingress: peers are alternatives, selectors within a peer have to match together,
and a pod that no policy selects is open to all.
"""

import pytest

from chart import only
from test_jobs import pod as job_pod
from test_values import merged, with_values

POLICY = {"networkPolicy": {"enabled": True, "metricsNamespaces": ["monitoring"]}}
RELEASE = {"app.kubernetes.io/name": "s3proxy", "app.kubernetes.io/instance": "s3proxy"}


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
