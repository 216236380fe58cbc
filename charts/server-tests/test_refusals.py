"""Proves that the other tests can fail: the server refuses, and the checks notice."""

import json

import pytest

from api_server import accepted
from chart import objects, only, rendered
from test_server import pod_of


def container(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0]


def applied(server, each, *options):
    return server.kubectl("apply", *options, "--validate=strict", "-f", "-", stdin=json.dumps(each))


def an_unknown_field(found):
    each = only(found, "Deployment")
    each["spec"]["template"]["spec"]["hostAlias"] = []
    return each


def an_unknown_field_of_a_custom_resource(found):
    each = only(found, "Certificate")
    each["spec"]["dnsName"] = "s3.example.com"
    return each


def a_quantity_that_is_none(found):
    each = only(found, "Deployment")
    container(each)["resources"]["requests"]["memory"] = "256Megs"
    return each


def a_selector_that_misses_its_pods(found):
    each = only(found, "Deployment")
    each["spec"]["selector"]["matchLabels"] = {"app": "other"}
    return each


def a_duration_that_is_none(found):
    each = only(found, "HTTPRoute")
    each["spec"]["rules"][0]["timeouts"] = {"request": "a while"}
    return each


def a_pod_that_may_become_root(found):
    each = only(found, "Deployment")
    container(each)["securityContext"]["allowPrivilegeEscalation"] = True
    pod = pod_of(each)
    pod["spec"]["serviceAccountName"] = "default"
    return pod


REFUSED = {
    an_unknown_field: "hostAlias",
    an_unknown_field_of_a_custom_resource: "dnsName",
    a_quantity_that_is_none: "quantities must match the regular expression",
    a_selector_that_misses_its_pods: "`selector` does not match template `labels`",
    a_duration_that_is_none: "spec.rules[0].timeouts.request",
    a_pod_that_may_become_root: 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
}


@pytest.mark.parametrize("way", ["client-side", "server-side"])
@pytest.mark.parametrize("made", REFUSED, ids=lambda made: made.__name__)
def test_the_server_refuses(server, made, way):
    words = REFUSED[made]
    option = f"--server-side={str(way == 'server-side').lower()}"
    result = applied(server, made(objects(rendered("production", server.version))), option, "--dry-run=server")
    assert result.returncode != 0 and words in result.stderr, result.stdout + result.stderr


def test_a_warning_is_no_acceptance(server):
    deployment = only(objects(rendered("production", server.version)), "Deployment")
    del container(deployment)["securityContext"]["capabilities"]
    result = applied(server, deployment, "--dry-run=server")
    assert result.returncode == 0
    with pytest.raises(AssertionError, match="would violate PodSecurity"):
        accepted(result)


def test_a_change_is_seen(server):
    route = only(objects(rendered("production", server.version)), "HTTPRoute")
    try:
        accepted(applied(server, route))
        route["spec"]["hostnames"] = ["other.example.com"]
        assert "other.example.com" in server.kubectl("diff", "-f", "-", stdin=json.dumps(route)).stdout
        assert accepted(applied(server, route)) == ["httproute.gateway.networking.k8s.io/s3proxy configured"]
    finally:
        server.kubectl("delete", "-f", "-", stdin=json.dumps(route))
