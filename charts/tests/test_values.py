"""What single values do, and what the chart refuses, with which words."""

import base64
import json
import re

import pytest
import yaml

from chart import CHART, ROOT, container, helm_template, notes, objects, only, render, rendered, values_file

BASE = {"config": {"host": "s3.eu-west-1.amazonaws.com", "existingSecret": "s3proxy"}, "tls": {"existingSecret": "certificate"}}


TEST_LABELS = {"app.kubernetes.io/name": "s3proxy-test", "app.kubernetes.io/instance": "s3proxy"}


def merged(base, more):
    out = dict(base)
    for key, value in more.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def with_values(more):
    return render(merged(BASE, more))


def environment(found):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(found)["env"]}


REFUSED = {
    "no key": ({"config": {"existingSecret": "", "accessKey": "A", "secretKey": "S"}}, "Keep copies of the key"),
    "a secret without a key in it": ({"config": {"secretKeys": {"encryptKey": ""}}}, "No key: set config.existingSecret"),
    "a placeholder as key": ({"config": {"existingSecret": "", "encryptKey": "CHANGEME"}}, 'config.encryptKey is still "CHANGEME"'),
    "a placeholder of Constellation's": ({"awsAccessKeyID": "replaceme", "config": {"host": ""}}, 'still "replaceme"'),
    "no backend": ({"config": {"host": ""}}, "No backend: set config.host"),
    "two backends": ({"dnsRedirection": {"enabled": True}}, "exclude each other"),
    "TLS without a certificate": ({"tls": {"existingSecret": ""}}, "TLS is on, but there is no certificate"),
    "cert-manager without an issuer": ({"tls": {"existingSecret": ""}, "cert": {"enable": True}}, "cert.enable needs cert.issuerRefName"),
    "a secret of the chart's own name beside it": ({"config": {"existingSecret": "s3proxy", "encryptKey": "k", "secretKeys": {"encryptKey": ""}}}, "the name of the Secret that the chart makes"),
    "two configuration files": ({"configuration": "[keys]", "existingConfigMap": "mine"}, "there is one configuration file"),
    "two existing files": ({"existingConfigSecret": "other", "existingConfigMap": "mine"}, "there is one configuration file"),
    "Vault login without a token": ({"configuration": '[[keys.vault]]\nauth = "kubernetes"\n'}, "serviceAccount.automount=true"),
    "autoscaling without a target": ({"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None}}, "needs a target"),
    "a route without a gateway": ({"gateway": {"httpRoute": {"enabled": True}}}, "gateway.httpRoute.parentRefs"),
    "TLS passed through to plain HTTP": ({"tls": {"enabled": False}, "gateway": {"tlsRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}}}, "use gateway.httpRoute"),
    "a policy without an authority": ({"gateway": {"backendTLSPolicy": {"enabled": True}}}, "needs hostname"),
    "a region that AWS does not have": (
        {"config": {"host": ""}, "tls": {"existingSecret": ""}, "cert": {"enable": True, "selfSigned": True},
         "dnsRedirection": {"enabled": True, "regions": ["eu-nowhere-1"]}}, "eu-nowhere-1 is none of AWS's regions"),
    "half a credential": ({"config": {"existingSecret": "", "encryptKey": "k", "accessKey": "A"}}, "config.accessKey is set, and config.secretKey is not"),
    "a budget for bodies that the limit cannot hold": ({"config": {"bodyMemory": "1 GiB"}}, "set the limit to 2073Mi or more"),
    "an audit log that replicas cannot share": ({"auditStorage": {"enabled": True, "accessModes": ["ReadWriteOnce"]}}, "accessModes [ReadWriteMany]"),
    # The schema.
    "a backend with a bucket in it": ({"config": {"host": "https://host/bucket"}}, "/config/host"),
    "a backend with a credential in it": ({"config": {"host": "https://user:password@host"}}, "/config/host"),
    "a schedule that is none": ({"jobs": {"sweep": {"schedule": "daily"}}}, "/jobs/sweep/schedule"),
    "a namespace that is a selector": ({"networkPolicy": {"metricsNamespaces": ["team=a"]}}, "/networkPolicy/metricsNamespaces"),
    "an unknown value": ({"replicas": 3}, "'replicas' not allowed"),
    "an unknown value below": ({"config": {"encryptionKey": "x"}}, "'encryptionKey' not allowed"),
    "a number as text": ({"replicaCount": "three"}, "/replicaCount"),
    "a port out of range": ({"service": {"port": 70000}}, "/service/port"),
    "a mode that is none": ({"config": {"auth": "off"}}, "/config/auth"),
    "a size without a unit": ({"config": {"bodyMemory": "64"}}, "/config/bodyMemory"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "/image"),
    "a kind that is none": ({"configurationKind": "File"}, "/configurationKind"),
    "a variable with two values": ({"extraEnv": [{"name": "A", "value": "1", "valueFrom": {}}]}, "/extraEnv/0"),
    "a variable that is a number": ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0/value"),
    "an alert that does not exist": ({"prometheusRule": {"rules": {"S3ProxyDwon": {}}}}, "'S3ProxyDwon' not allowed"),
    "a limit for an alert without one": ({"prometheusRule": {"rules": {"S3ProxyDown": {"threshold": 1}}}}, "'threshold' not allowed"),
    "a service that only is a name": ({"service": {"type": "ExternalName"}}, "/service/type"),
}


@pytest.mark.parametrize(("values", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_words_that_help(values, words):
    result = helm_template("--values", "-", stdin=yaml.safe_dump(merged(BASE, values)))
    assert result.returncode != 0
    assert words in result.stderr, result.stderr


@pytest.mark.parametrize("values", [
    {"config": {"kms": "key-service.kube-system:9000"}},
    {"configuration": "[[keys.aws_kms]]\nkey = 'alias/s3proxy'\n"},
    {"configuration": "[keys]\nkms = 'key-service.kube-system:9000'\n"},
    {"configuration": "keys.encrypt_key_file = '/etc/key'\n"},
    {"existingConfigMap": "mine"},
    {"args": ["--kms=key-service.kube-system:9000"]},
    {"extraEnv": [{"name": "S3PROXY_ENCRYPT_KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]},
], ids=str)
def test_a_key_may_be_named_in_other_ways(values):
    found = with_values(merged({"config": {"existingSecret": ""}}, values))
    assert "S3PROXY_ENCRYPT_KEY_FILE" not in environment(found)


def test_a_comment_in_the_configuration_names_no_key():
    result = helm_template("--values", "-", stdin=yaml.safe_dump(
        merged(BASE, {"config": {"existingSecret": ""}, "configuration": "# [[keys.vault]]\n"})))
    assert "No key" in result.stderr


def test_a_variable_of_the_users_takes_the_place_of_the_charts():
    found = with_values({"extraEnv": [{"name": "S3PROXY_HOST", "value": "other"}, {"name": "S3PROXY_ENCRYPT_KEY", "value": "k"}]})
    assert environment(found)["S3PROXY_HOST"] == "other"
    assert "S3PROXY_ENCRYPT_KEY_FILE" not in environment(found)


def test_keys_are_files_that_only_the_pods_group_reads():
    found = with_values({"config": {"secretKeys": {"decryptKeys": "old"}}})
    assert environment(found)["S3PROXY_ENCRYPT_KEY_FILE"] == "/etc/s3proxy/keys/encrypt-key"
    assert environment(found)["S3PROXY_DECRYPT_KEYS_FILE"] == "/etc/s3proxy/keys/decrypt-keys"
    [volume] = [each for each in only(found, "Deployment")["spec"]["template"]["spec"]["volumes"] if each["name"] == "keys"]
    assert volume["projected"]["defaultMode"] == 0o440
    assert not [each for each in container(found)["volumeMounts"] if "subPath" in each]


def test_a_secret_of_the_users_is_never_made_anew():
    found = with_values({"config": {"existingSecret": "s3proxy"}})
    assert not [each for each in found if each["kind"] == "Secret"]


def test_the_only_copy_of_a_key_survives_helm_uninstall():
    found = with_values({"config": {"existingSecret": "", "encryptKey": "a key"}})
    secret = only(found, "Secret")
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert secret["data"] == {"encryptKey": base64.b64encode(b"a key").decode()}


def test_a_changed_credential_replaces_the_pods_and_a_changed_key_does_not():
    def annotations(**secrets):
        found = with_values({"config": {"existingSecret": "", "accessKey": "A", "secretKey": "S", "encryptKey": "K", **secrets}})
        return only(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations(encryptKey="other")
    assert annotations() != annotations(secretKey="other")


def test_a_changed_configuration_leaves_the_pods_alone():
    pods = [only(with_values({"configuration": f"[limits]\nrequests_per_second = {rate}\n"}), "Deployment") for rate in (1, 2)]
    assert pods[0] == pods[1]


def test_probes_ask_the_admin_port_unless_older_values_say_otherwise():
    assert container(with_values({}))["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin", "scheme": "HTTP"}
    older = container(objects(rendered("intrinsec")))
    assert older["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 4433, "scheme": "HTTPS"}
    assert older["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": 4433, "scheme": "HTTPS"}


def test_a_release_of_constellations_chart_keeps_its_ways():
    found = objects(rendered("constellation"))
    assert environment(found)["S3PROXY_KMS"] == "key-service.kube-system:9000"
    assert "S3PROXY_HOST" not in environment(found)
    assert container(found)["image"] == "registry.example/s3proxy:0.1.0"
    names = only(found, "Certificate", "s3proxy")["spec"]["dnsNames"]
    assert {"s3.eu-west-1.amazonaws.com", "*.s3.eu-west-1.amazonaws.com", "s3.amazonaws.com"} <= set(names)
    assert only(found, "Service", "s3proxy")["spec"]["ports"][0]["port"] == 443


def test_values_of_intrinsecs_chart_arrive():
    found = objects(rendered("intrinsec"))
    assert environment(found)["S3PROXY_THROTTLING_REQUESTSMAX"] == "5"
    assert container(found)["args"] == ["--level=-4"]
    certificate = only(found, "Certificate")["spec"]
    assert certificate["dnsNames"] == ["*.s3proxy.internal.example", "s3proxy.internal.example"]
    assert certificate["issuerRef"]["name"] == "internal-example"
    scaler = only(found, "HorizontalPodAutoscaler")["spec"]
    assert [each["resource"]["name"] for each in scaler["metrics"]] == ["cpu", "memory"]
    assert "replicas" not in only(found, "Deployment")["spec"]


def test_secrets_through_vals_operator_are_the_ones_that_the_pods_take():
    found = objects(rendered("intrinsec-monitoring"))
    made = only(found, "ValsSecret")["spec"]
    assert set(made["data"]) == {"accessKey", "secretKey", "encryptKey"}
    assert environment(found)["AWS_SECRET_ACCESS_KEY"]["secretKeyRef"] == {"name": made["name"], "key": "secretKey"}
    assert not [each for each in found if each["kind"] == "Secret"]


@pytest.mark.parametrize(("values", "expected"), [
    ({"tls": {"enabled": False}}, "http"), ({"args": ["--no-tls"]}, "http"), ({}, "https"),
])
def test_the_service_tells_whether_it_speaks_tls(values, expected):
    found = with_values(values)
    assert only(found, "Service", "s3proxy")["spec"]["ports"][0]["appProtocol"] == expected
    mounted = [each["mountPath"] for each in container(found)["volumeMounts"]]
    assert ("/etc/s3proxy/certs" in mounted) == (expected == "https")


def test_one_replica_has_no_budget_that_would_hold_up_a_node():
    assert not [each for each in with_values({"replicaCount": 1}) if each["kind"] == "PodDisruptionBudget"]
    assert only(with_values({}), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_scaler_asks_for_requests_in_flight():
    found = with_values({"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": None, "targetRequestsInFlight": 50}})
    [metric] = only(found, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"] == {"metric": {"name": "s3proxy_requests_in_flight"}, "target": {"type": "AverageValue", "averageValue": "50"}}


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


def test_every_value_is_in_the_schema_and_the_other_way_round():
    def of_values(value, schema, path=""):
        schema = schema.get("oneOf", [schema])[-1]
        if "properties" not in schema or not isinstance(value, dict):
            return set()
        mine, theirs = set(value), set(schema["properties"])
        missing = {f"{path}{key}" for key in mine ^ theirs}
        for key in mine & theirs:
            missing |= of_values(value[key], schema["properties"][key], f"{path}{key}.")
        return missing

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    free = ("resources.", "deploymentStrategy.", "valsSecret.", "prometheusRule.rules.", "prometheusRule.thresholds.",
            "prometheusRule.for.", "grafanaDashboard.instanceSelector.", "podDnsConfig.", "lifecycle.", "global")
    assert not [each for each in of_values(values, schema) if not each.startswith(free)]


def test_the_example_of_the_readme_is_the_first_value_set():
    readme = (CHART / "README.md").read_text()
    text = "".join(values_file("existing-secret").read_text().splitlines(keepends=True)[1:])
    assert text in readme


def pod_of(found):
    return only(found, "Deployment")["spec"]["template"]["spec"]


def test_each_pod_writes_its_audit_log_to_a_folder_of_its_own():
    found = with_values({"auditStorage": {"enabled": True, "storageClass": "shared"}})
    assert environment(found)["S3PROXY_AUDIT"] == "/var/log/s3proxy/audit.log"
    assert environment(found)["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    [mount] = [each for each in container(found)["volumeMounts"] if each["name"] == "audit"]
    assert mount == {"name": "audit", "mountPath": "/var/log/s3proxy", "subPathExpr": "$(POD_NAME)"}
    # Kubernetes expands names of variables that come before.
    names = [each["name"] for each in container(found)["env"]]
    assert names.index("POD_NAME") == 0
    claim = only(found, "PersistentVolumeClaim", "s3proxy-audit")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteMany"], "storageClassName": "shared",
                             "resources": {"requests": {"storage": "10Gi"}}}
    [volume] = [each for each in pod_of(found)["volumes"] if each["name"] == "audit"]
    assert volume["persistentVolumeClaim"] == {"claimName": "s3proxy-audit"}


def test_an_audit_log_in_an_empty_volume_or_a_claim_of_the_users():
    found = with_values({"auditStorage": {"enabled": True, "kind": "emptyDir", "size": "1Gi"}})
    [volume] = [each for each in pod_of(found)["volumes"] if each["name"] == "audit"]
    assert volume["emptyDir"] == {"sizeLimit": "1Gi"}
    found = with_values({"auditStorage": {"enabled": True, "existingClaim": "mine"}})
    assert not [each for each in found if each["kind"] == "PersistentVolumeClaim"]
    [volume] = [each for each in pod_of(found)["volumes"] if each["name"] == "audit"]
    assert volume["persistentVolumeClaim"] == {"claimName": "mine"}


def test_containers_names_and_hooks_of_the_users():
    module = {"name": "module", "emptyDir": {}}
    copy = {"name": "copy", "image": "registry.example/hsm:{{ .Chart.AppVersion }}", "volumeMounts": [{"name": "module", "mountPath": "/m"}]}
    found = with_values({
        "extraInitContainers": [copy], "extraContainers": [{"name": "shipper", "image": "registry.example/shipper"}],
        "extraVolumes": [module], "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["ceph.example"]}], "dnsPolicy": "None",
        "podDnsConfig": {"nameservers": ["10.0.0.2"]}, "envFrom": [{"secretRef": {"name": "{{ .Release.Name }}-more"}}],
        "deploymentAnnotations": {"example.com/a": "b"}, "revisionHistoryLimit": 0, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "podAnnotations": {"example.com/release": "{{ .Release.Name }}"},
    })
    pod = pod_of(found)
    assert pod["initContainers"][0]["image"] == "registry.example/hsm:0.1.0"
    assert [each["name"] for each in pod["containers"]] == ["s3proxy", "shipper"]
    assert module in pod["volumes"]
    assert pod["hostAliases"][0]["hostnames"] == ["ceph.example"]
    assert (pod["dnsPolicy"], pod["dnsConfig"]) == ("None", {"nameservers": ["10.0.0.2"]})
    assert container(found)["envFrom"] == [{"secretRef": {"name": "s3proxy-more"}}]
    assert container(found)["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    deployment = only(found, "Deployment")
    assert deployment["metadata"]["annotations"] == {"example.com/a": "b"}
    assert deployment["spec"]["revisionHistoryLimit"] == 0
    assert deployment["spec"]["template"]["metadata"]["annotations"]["example.com/release"] == "s3proxy"


def test_labels_for_all_objects_and_none_in_selectors():
    found = with_values({"commonLabels": {"team": "storage"}, "networkPolicy": {"enabled": True}, "serviceMonitor": {"enabled": True},
                         "jobs": {"sweep": {"enabled": True}}, "auditStorage": {"enabled": True}})
    assert len(found) > 8
    assert not [each["kind"] for each in found if each["metadata"]["labels"].get("team") != "storage"]
    assert only(found, "Deployment")["spec"]["template"]["metadata"]["labels"]["team"] == "storage"
    for each in found:
        assert "team" not in str(each["spec"].get("selector")) if "spec" in each else True


def test_further_objects_as_maps_and_as_texts():
    found = with_values({"extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"s3proxy.fullname\" . }}-b\n"]})
    assert only(found, "ConfigMap", "s3proxy-a") and only(found, "ConfigMap", "s3proxy-b")


def test_a_configuration_replaces_pods_where_that_is_asked_for():
    pods = [only(with_values({"restartOnChange": True, "configuration": f"[listen]\nmax_connections = {number}\n"}), "Deployment")
            for number in (1000, 2000)]
    assert pods[0] != pods[1]


def quantity(text):
    return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]


def test_the_default_limit_holds_the_measured_memory():
    """The formula of docs/operations.md, with the program's defaults."""
    page = (ROOT / "docs/operations.md").read_text()
    assert "25 MiB + 2 × limits.body_memory + 9 KiB × listen.max_connections + 24 KiB × connections" in page
    measured = [int(found) for found in re.findall(r"(?m)^\| .* \| (\d+) MiB \| ", page)]
    limit = quantity(container(with_values({}))["resources"]["limits"]["memory"])
    assert len(measured) >= 10
    assert limit >= max(measured)
    assert limit >= 25 + 2 * 48 + 33 * 4096 / 1024


@pytest.mark.parametrize(("values", "warned"), [
    ({}, False), ({"config": {"bodyMemory": "64 MiB"}}, True),
    ({"config": {"bodyMemory": "64 MiB"}, "resources": {"limits": {"memory": "288Mi"}}}, False),
    ({"resources": {"limits": {"memory": "200M"}}}, True), ({"resources": {"limits": {"memory": None}}}, False),
    ({"resources": {"limits": {"memory": "1.5Gi"}}}, False), ({"resources": {"limits": {"memory": "268435456"}}}, False),
    ({"resources": {"limits": {"memory": "200M"}}, "configuration": "[listen]\nmax_connections = 1000\n"}, False),
])
def test_notes_warn_where_the_limit_is_below_the_sum_of_all_bounds(values, warned, tmp_path):
    path = tmp_path / "values"
    path.write_text(yaml.safe_dump(merged(BASE, values)))
    assert ("resources.limits.memory is lower" in notes(tmp_path, "--values", path)) == warned


@pytest.mark.parametrize(("values", "domains"), [
    ({}, None),
    ({"config": {"virtualHostDomains": ["s3.example.com", "s3.example.org"]}}, "s3.example.com,s3.example.org"),
    ({"ingress": {"enabled": True, "hosts": ["s3.example.com", "*.s3.example.com"]}}, "s3.example.com"),
    ({"ingress": {"enabled": False, "hosts": ["*.s3.example.com"]}}, None),
    ({"gateway": {"tlsRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "hostnames": ["*.s3.example.com"]}}}, "s3.example.com"),
    ({"ingress": {"enabled": True, "hosts": ["*.a.example"]}, "config": {"virtualHostDomains": ["b.example"]}}, "b.example"),
    ({"ingress": {"enabled": True, "hosts": ["*.a.example"]}, "configuration": "[listen]\nvirtual_host_domains = ['b.example']\n"}, None),
    # Intrinsec's proxy reads no bucket from a name, and its certificates have wildcards for other ends.
    ({"cert": {"commonName": "*.s3proxy.internal.example"}}, None),
])
def test_wildcards_of_routes_are_domains_of_buckets(values, domains):
    assert environment(with_values(values)).get("S3PROXY_VIRTUAL_HOST_DOMAINS") == domains


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
