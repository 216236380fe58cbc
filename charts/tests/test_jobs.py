"""Jobs for the program's commands: the Deployment's settings and secrets, without its listeners."""

import pytest
import yaml

from chart import VALUE_SETS, container, helm_template, only, render, values_file
from test_values import BASE, environment, merged

COMMANDS = ["verify", "rewrap", "migrate", "sweep"]
# Variables that only a serving proxy needs.
SERVING = {"S3PROXY_LISTEN_PORT", "S3PROXY_LISTEN_ADMIN", "S3PROXY_LISTEN_DRAIN_DELAY", "S3PROXY_LISTEN_DRAIN_TIMEOUT", "S3PROXY_LISTEN_TLS",
           "S3PROXY_THROTTLING_REQUESTSMAX", "S3PROXY_CLIENTS_AUTH", "S3PROXY_AUDIT_OUTPUT", "POD_NAME",
           "S3PROXY_LISTEN_VIRTUAL_HOST_DOMAINS"}


def with_job(command, more=None, **values):
    job = {"enabled": True, "schedule": "", "buckets": ["photos", "logs/2026/"], **values}
    return render(merged(merged(BASE, more or {}), {"jobs": {command: job}}))


def pod(found):
    return only(found, "Job")["spec"]["template"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_job_runs_the_command_over_the_buckets(command):
    found = with_job(command, args=["--dry-run"])
    [one] = pod(found)["spec"]["containers"]
    buckets = ["photos", "logs/2026/"] if command != "sweep" else ["--bucket=photos", "--bucket=logs/2026/"]
    assert one["args"] == [command, "--dry-run", *buckets]
    assert one["image"] == container(found)["image"]
    assert "ports" not in one and "livenessProbe" not in one


@pytest.mark.parametrize("name", VALUE_SETS)
def test_it_has_the_settings_and_secrets_of_the_deployment(name):
    values = yaml.safe_load(values_file(name).read_text())
    found = render({**values, "jobs": {"verify": {"enabled": True, "buckets": ["a"]}}})
    [one] = pod(found)["spec"]["containers"]
    mine = {each["name"]: each for each in one["env"]}
    theirs = {each["name"]: each for each in container(found)["env"] if each["name"] not in SERVING}
    assert mine == theirs
    mounts = {each["mountPath"] for each in one.get("volumeMounts", [])}
    assert mounts == {each["mountPath"] for each in container(found).get("volumeMounts", [])} - {"/etc/s3proxy/certs", "/var/log/s3proxy"}
    volumes = {each["name"] for each in pod(found)["spec"].get("volumes", [])}
    assert {each["name"] for each in one.get("volumeMounts", [])} == volumes
    deployment = only(found, "Deployment")["spec"]["template"]["spec"]
    assert pod(found)["spec"]["serviceAccountName"] == deployment["serviceAccountName"]
    assert pod(found)["spec"].get("securityContext") == deployment.get("securityContext")


def test_flags_that_are_settings_go_with_it_and_those_about_listening_do_not():
    found = with_job("verify", {"args": ["serve", "--no-tls", "--level=-4", "--kms", "keys:9000", "--port=80", "--set", "a=b"],
                                "tls": {"enabled": False}})
    assert pod(found)["spec"]["containers"][0]["args"] == [
        "verify", "--level=-4", "--kms", "keys:9000", "--set", "a=b", "photos", "logs/2026/"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_service_and_no_policy_of_the_proxies_takes_a_job_for_a_proxy(command):
    found = with_job(command, {"networkPolicy": {"enabled": True}})
    labels = pod(found)["metadata"]["labels"]
    selectors = [each["spec"]["selector"] for each in found if each["kind"] == "Service"]
    selectors.append(only(found, "NetworkPolicy", "s3proxy")["spec"]["podSelector"]["matchLabels"])
    selectors.append(only(found, "Deployment")["spec"]["selector"]["matchLabels"])
    selectors.append(only(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    assert not [each for each in selectors if each.items() <= labels.items()]
    policy = only(found, "NetworkPolicy", "s3proxy-jobs")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items() and "ingress" not in policy


def test_a_schedule_makes_a_cron_job_whose_runs_do_not_overlap():
    found = with_job("sweep", schedule="30 2 * * *")
    spec = only(found, "CronJob", "s3proxy-sweep")["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("30 2 * * *", "Forbid")
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 3


@pytest.mark.parametrize("command", ["verify", "rewrap", "migrate"])
def test_a_failed_run_is_looked_at_and_not_repeated(command):
    spec = only(with_job(command), "Job")["spec"]
    assert spec["backoffLimit"] == 0 and spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["ttlSecondsAfterFinished"] == 604800


def test_another_image_or_other_arguments_make_another_job():
    """A Job is immutable: with the same name, `helm upgrade` would fail."""
    names = [only(with_job("verify", more, args=args), "Job")["metadata"]["name"]
             for more, args in (({}, []), ({}, ["--heads"]), ({"image": {"tag": "9"}}, []), ({"replicaCount": 5}, []))]
    assert len(set(names)) == 3 and names[0] == names[3]


def test_rewrap_may_ask_the_proxies_for_their_keys():
    found = with_job("rewrap", {"networkPolicy": {"enabled": True}}, args=["--check", "--replica=s3proxy-admin:9090"])
    labels = pod(found)["metadata"]["labels"].items()
    admin = only(found, "NetworkPolicy", "s3proxy")["spec"]["ingress"][1]
    assert admin["ports"][0]["port"] == "admin"
    assert [each for each in admin["from"] if each["podSelector"]["matchLabels"].items() <= labels]
    egress = only(found, "NetworkPolicy", "s3proxy-jobs")["spec"]["egress"][-1]
    assert egress["ports"][0]["port"] == "admin"
    assert only(found, "Service", "s3proxy-admin")["spec"]["ports"][0]["port"] == 9090


@pytest.mark.parametrize("command", ["verify", "rewrap", "migrate"])
def test_buckets_have_to_be_named(command):
    values = merged(BASE, {"jobs": {command: {"enabled": True}}})
    result = helm_template("--values", "-", stdin=yaml.safe_dump(values))
    assert f"jobs.{command}.enabled needs jobs.{command}.buckets" in result.stderr


@pytest.mark.parametrize(("schedule", "kind", "longest"), [("", "Job", 63), ("0 3 * * 0", "CronJob", 52)])
@pytest.mark.parametrize("command", COMMANDS)
def test_names_are_short_enough_for_the_labels_that_kubernetes_makes_of_them(command, schedule, kind, longest):
    found = with_job(command, {"fullnameOverride": "a-name-of-fifty-characters-that-is-cut-to-that-len"}, schedule=schedule)
    name = only(found, kind)["metadata"]["name"]
    assert len(name) <= longest and f"-{command}" in name


def test_a_service_account_of_its_own():
    found = with_job("sweep", {"jobs": {"serviceAccountName": "janitor"}})
    assert pod(found)["spec"]["serviceAccountName"] == "janitor"


def test_jobs_are_off_by_default():
    assert not [each for each in render(BASE) if each["kind"] in ("Job", "CronJob")]
    assert environment(render(BASE))["S3PROXY_LISTEN_PORT"] == "4433"
