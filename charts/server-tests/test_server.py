"""A Kubernetes API server accepts the rendered chart and deploy/ without a warning, and finds
nothing to change when it gets them again."""

import json

import pytest

from api_server import accepted
from chart import CHART, VALUE_SETS, objects, only, render, rendered, values_file


def stored(server, manifest):
    """Uid and resource version of each object on the server: an unchanged object keeps both."""
    found = json.loads("".join(accepted(server.kubectl("get", "--ignore-not-found", "-f", manifest, "-o", "json"))))
    return {(each["kind"], each["metadata"]["name"]): (each["metadata"]["uid"], each["metadata"]["resourceVersion"])
            for each in found.get("items", [found])}


def test_a_dry_run_takes_everything(server, manifest):
    lines = accepted(server.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", manifest))
    assert len(lines) == len(objects(manifest.read_text()))
    assert all(line.endswith("serverside-applied (server dry run)") for line in lines), lines


@pytest.mark.parametrize("way", ["client-side", "server-side"])
def test_a_second_apply_changes_nothing(server, manifest, way):
    option = f"--server-side={str(way == 'server-side').lower()}"
    accepted(server.kubectl("apply", option, "--validate=strict", "-f", manifest))
    before = stored(server, manifest)
    assert len(before) == len(objects(manifest.read_text()))
    assert accepted(server.kubectl("diff", option, "-f", manifest)) == []
    lines = accepted(server.kubectl("apply", option, "--validate=strict", "-f", manifest))
    if way == "client-side":
        # kubectl always sends the selector of a PodDisruptionBudget, since a patch replaces it as a
        # whole.
        changed = [line for line in lines if not line.endswith(" unchanged") and not line.startswith("poddisruptionbudget")]
        assert not changed
    assert stored(server, manifest) == before


@pytest.mark.parametrize("name", VALUE_SETS)
def test_helm_installs_it_and_an_upgrade_to_the_same_changes_nothing(server, name, tmp_path):
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(rendered(name, server.version))
    release = ["s3proxy", CHART, "--namespace", "storage", "--values", values_file(name)]
    assert "STATUS: pending-install" in accepted(server.helm("install", *release, "--dry-run=server"))
    assert stored_nothing(server, manifest)
    try:
        assert "STATUS: deployed" in accepted(server.helm("install", *release))
        before = stored(server, manifest)
        # The pod of `helm test` is the only object that is created later.
        assert len(before) == len(objects(manifest.read_text())) - 1
        assert "REVISION: 2" in accepted(server.helm("upgrade", *release))
        assert stored(server, manifest) == before
    finally:
        server.helm("uninstall", "s3proxy", "--namespace", "storage")
        # A Secret with a key survives the uninstall.
        server.kubectl("delete", "--ignore-not-found", "-f", manifest)


def stored_nothing(server, manifest):
    return accepted(server.kubectl("get", "--ignore-not-found", "-f", manifest)) == []


def test_a_key_that_leaves_the_values_leaves_the_secret(server):
    config = {"host": "s3.example.com", "accessKey": "A", "secretKey": "S", "encryptKey": "key"}
    try:
        for more, names in (({"decryptKeys": "older"}, {"accessKey", "secretKey", "encryptKey", "decryptKeys"}),
                            ({}, {"accessKey", "secretKey", "encryptKey"})):
            secret = only(render({"config": {**config, **more}, "tls": {"enabled": False}}), "Secret")
            accepted(server.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(secret)))
            [text] = accepted(server.kubectl("get", "secret", "s3proxy", "-o", "jsonpath={.data}"))
            assert set(json.loads(text)) == names
    finally:
        server.kubectl("delete", "--ignore-not-found", "secret", "s3proxy")


def pod_of(deployment):
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "from-template", "namespace": "storage"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_a_restricted_namespace_admits_the_pods(server, manifest):
    found = objects(manifest.read_text())
    for account in [each for each in found if each["kind"] == "ServiceAccount"]:
        accepted(server.kubectl("apply", "-f", "-", stdin=json.dumps(account)))
    pods = [each for each in found if each["kind"] == "Pod"]
    pods += [pod_of(each) for each in found if each["kind"] == "Deployment"]
    assert pods
    for pod in pods:
        [line] = accepted(server.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
                                         stdin=json.dumps(pod)))
        assert line == f'pod/{pod["metadata"]["name"]} serverside-applied (server dry run)'
