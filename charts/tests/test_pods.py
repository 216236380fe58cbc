"""The pods: the user's own volumes, containers and labels, and memory."""

import re

import pytest
import yaml

from chart import ROOT, container, notes, only
from test_values import BASE, environment, merged, with_values


def pod_of(found):
    return only(found, "Deployment")["spec"]["template"]["spec"]


def test_each_pod_writes_its_audit_log_to_a_folder_of_its_own():
    found = with_values({"auditStorage": {"enabled": True, "storageClass": "shared"}})
    assert environment(found)["S3PROXY_AUDIT_OUTPUT"] == "/var/log/s3proxy/audit.log"
    assert environment(found)["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    [mount] = [each for each in container(found)["volumeMounts"] if each["name"] == "audit"]
    assert mount == {"name": "audit", "mountPath": "/var/log/s3proxy", "subPathExpr": "$(POD_NAME)"}
    # Kubernetes expands only variables that are defined earlier in the list.
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
    """The formula of docs/operations.md with the program's defaults."""
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
