"""The effect of single values, and the chart's refusals with their messages."""

import base64
import json
import re

import pytest
import yaml

from chart import CHART, ROOT, container, helm_template, objects, only, render, rendered, values_file

BASE = {"config": {"host": "s3.eu-west-1.amazonaws.com", "existingSecret": "s3proxy"}, "tls": {"existingSecret": "certificate"}}


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
    # Refused by the schema
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


def test_every_name_of_a_setting_takes_the_place_of_the_charts():
    """The program refuses to start with two values for one setting."""
    reference = (ROOT / "docs/configuration.md").read_text()
    names = [re.findall("`(S3PROXY_[A-Z_]+)`", line) for line in reference.splitlines() if line.startswith("- Environment: ")]
    former = re.findall(r'\(\s*"(S3PROXY_[A-Z_]+)",\s*"([a-z_.]+)"',
                        (ROOT / "crates/config/src/settings/former.rs").read_text())
    for name, path in former:
        derived = "S3PROXY_" + path.upper().replace(".", "_")
        [found] = [each for each in names if derived in each]
        found += [name, f"{name}_FILE"] if f"{derived}_FILE" in found else [name]
    usual = environment(with_values({}))
    checked = 0
    for several in names:
        [own] = set(several) & set(usual) or [None]
        for other in [each for each in several if own and each.endswith("_FILE") == own.endswith("_FILE") and each != own]:
            changed = environment(with_values({"extraEnv": [{"name": other, "value": "1"}]}))
            assert own not in changed and other in changed, other
            checked += 1
    assert checked >= 5


def test_keys_are_files_that_only_the_pods_group_reads():
    found = with_values({"config": {"secretKeys": {"decryptKeys": "old"}}})
    assert environment(found)["S3PROXY_ENCRYPT_KEY_FILE"] == "/etc/s3proxy/keys/encrypt-key"
    assert environment(found)["S3PROXY_KEYS_DECRYPT_KEYS_FILE"] == "/etc/s3proxy/keys/decrypt-keys"
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
    assert environment(found)["S3PROXY_HOST"] == "aws"
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
