"""Host names for clients: in certificate, notes and `helm test`, and buckets in names."""

import pytest
import yaml

from chart import notes, only
from test_values import BASE, environment, merged, with_values


@pytest.mark.parametrize(("values", "domains"), [
    ({}, None),
    ({"config": {"virtualHostDomains": ["s3.example.com", "s3.example.org"]}}, "s3.example.com,s3.example.org"),
    ({"ingress": {"enabled": True, "hosts": ["s3.example.com", "*.s3.example.com"]}}, "s3.example.com"),
    ({"ingress": {"enabled": False, "hosts": ["*.s3.example.com"]}}, None),
    ({"gateway": {"tlsRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["*.s3.example.com"]}}}, "s3.example.com"),
    ({"ingress": {"enabled": True, "hosts": ["*.a.example"]}, "config": {"virtualHostDomains": ["b.example"]}}, "b.example"),
    ({"ingress": {"enabled": True, "hosts": ["*.a.example"]}, "configuration": "[listen]\nvirtual_host_domains = ['b.example']\n"}, None),
    # Intrinsec's proxy has no buckets in host names, and its certificates have wildcards for other
    # purposes.
    ({"cert": {"commonName": "*.s3proxy.internal.example"}}, None),
])
def test_wildcards_of_routes_are_domains_of_buckets(values, domains):
    assert environment(with_values(values)).get("S3PROXY_LISTEN_VIRTUAL_HOST_DOMAINS") == domains


def certified(values):
    found = with_values(merged({"tls": {"existingSecret": ""}, "cert": {"enable": True}}, values))
    return set(only(found, "Certificate", "s3proxy")["spec"]["dnsNames"])


SERVICE_NAMES = {"s3proxy", "s3proxy.storage", "s3proxy.storage.svc", "s3proxy.storage.svc.cluster.local"}


@pytest.mark.parametrize(("cert", "names"), [
    ({"issuerRefName": "i", "dnsName": "s3.example.com"}, {"s3.example.com"}),
    ({"issuerRefName": "i", "dnsName": "s3.example.com", "serviceNames": True}, {"s3.example.com", *SERVICE_NAMES}),
    ({"selfSigned": True, "dnsName": "s3.example.com"}, {"s3.example.com", *SERVICE_NAMES}),
    ({"issuerRefName": "i", "commonName": "s3.example.com"}, {"s3.example.com", *SERVICE_NAMES}),
    ({"issuerRefName": "i", "dnsName": ""}, SERVICE_NAMES),
])
def test_the_certificate_has_the_services_names_unless_a_public_authority_may_sign_it(cert, names):
    assert certified({"cert": cert}) == names


@pytest.mark.parametrize(("values", "endpoint"), [
    ({}, "https://s3proxy.storage.svc:4433"),
    ({"tls": {"enabled": False}, "service": {"port": 80}}, "http://s3proxy.storage.svc"),
    ({"tls": {"existingSecret": ""}, "cert": {"enable": True, "issuerRefName": "i", "dnsName": ["*.a.example", "b.example"]}}, "https://b.example:4433"),
    ({"tls": {"existingSecret": ""}, "cert": {"enable": True, "issuerRefName": "i", "dnsName": "*.a.example"}}, "https://s3.a.example:4433"),
    ({"config": {"host": "", "region": "us-east-1"}, "dnsRedirection": {"enabled": True}}, "https://s3.us-east-1.amazonaws.com"),
    ({"config": {"host": ""}, "dnsRedirection": {"enabled": True, "regions": ["cn-north-1"]}}, "https://s3.cn-north-1.amazonaws.com.cn"),
])
def test_notes_and_test_use_a_name_that_the_certificate_has(values, endpoint, tmp_path):
    path = tmp_path / "values"
    path.write_text(yaml.safe_dump(merged(BASE, values)))
    assert f"serves S3 at\n\n  {endpoint}\n" in notes(tmp_path, "--values", path)
    found = with_values(values)
    variables = {each["name"]: each.get("value") for each in only(found, "Pod")["spec"]["containers"][0]["env"]}
    port = only(found, "Service", "s3proxy")["spec"]["ports"][0]["port"]
    assert variables["SERVICE"] == f"s3proxy.storage.svc:{port}"
    assert variables["ENDPOINT"].removesuffix(f":{port}") == endpoint.removesuffix(f":{port}")


def test_the_test_signs_with_what_clients_have():
    def credential(values):
        env = only(with_values(values), "Pod")["spec"]["containers"][0]["env"]
        return [each["valueFrom"]["secretKeyRef"] for each in env if "valueFrom" in each]

    assert credential({}) == [{"name": "s3proxy", "key": "accessKey"}, {"name": "s3proxy", "key": "secretKey"}]
    listed = "[[clients.known]]\nname = 'a'\n"
    assert credential({"configuration": listed}) == []
    assert credential({"configuration": listed, "tests": {"existingSecret": "a"}}) == [
        {"name": "a", "key": "accessKey"}, {"name": "a", "key": "secretKey"}]
