"""Every value set of the chart, started with its rendered environment, and called by every name
that it gives to clients: in certificates, routes, Ingresses and notes. The same for the values in
the guides, and for deploy/.
"""

import re
import secrets
import shlex

import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import chart_release
from chart_release import Release, chart
from clients import AwsCli, boto3_client
from content import content
from documents import FILE, ROOT, Page
from documents_steps import helm_is_here
from internet import INLINE, Internet
from key_services.aws_kms import REGION, MotoKms
from key_services.constellation import ConstellationService
from key_services.kubernetes import Cluster
from key_services.transit import Tenant, key_entry, kubernetes_login
from proxy import new_key
from target import PATH, VIRTUAL_HOST, Credential

pytestmark = pytest.mark.skipif(not helm_is_here(), reason="helm is not installed; charts/check does that")

FIVE_MIB = 5 * 1024 * 1024
AWS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu")


def guides():
    """The installations in the guides: page and values files, as the commands have them."""
    for name in ("deploy-helm.md", "deploy-dns.md"):
        page = Page(ROOT / "docs" / name)
        for block in page.blocks:
            words = shlex.split(block.text.replace("\\\n", " ")) if block.text.startswith("helm ") else []
            files = [words[at + 1] for at, word in enumerate(words) if word == "--values"]
            if files:
                yield name, files


GUIDES = [pytest.param(page, files, id=f"{page}: {' '.join(files)}") for page, files in guides()]


@pytest.fixture(scope="module")
def internet(run_directory):
    aws = Release(chart.objects((ROOT / "deploy/dns-redirection/s3proxy.yaml").read_text())).certified()
    server = Internet(run_directory / "internet", [*aws, "ceph.example.internal", "s3.fr-par.scw.cloud"])
    yield server
    server.stop()


@pytest.fixture
def vault(openbao, certificates, tmp_path):
    """Replaces a configuration's Vault; the pod has the token of its service account."""
    tenant, cluster = Tenant(openbao), Cluster(certificates)
    tenant.trust(cluster)
    token = tmp_path / "token"
    token.write_text(cluster.new_token())
    entry = key_entry(tenant, tenant.new_key(), kubernetes_login(tenant, token))
    yield r"(?s)\[\[keys\.vault\]\].*?(?=\n\[|\Z)", entry
    cluster.stop()


@pytest.fixture
def aws_kms(tmp_path):
    """Replaces AWS KMS."""
    moto = MotoKms(tmp_path)
    entry = f'[[keys.aws_kms]]\nkey = "{moto.new_key()}"\nregion = "{REGION}"\nendpoint = "{moto.target.url}"\n'
    yield r"(?s)\[\[keys\.aws_kms\]\].*?(?=\n\[|\Z)", entry
    moto.stop()


@pytest.fixture
def key_service(run_directory):
    """Replaces Constellation's key service."""
    service = ConstellationService(run_directory, f"constellation-{secrets.token_hex(2)}")
    yield {"S3PROXY_KMS": f"127.0.0.1:{service.port}"}
    service.stop()


OWN_CONFIGURATION = f"""
[backend]
host = "https://s3.eu-west-1.amazonaws.com"
access_key_id = "{INLINE.access_key}"
secret_access_key = "{INLINE.secret_key}"

[keys]
encrypt_key = "{new_key()}"
"""


WRITER = """
[[clients.known]]
name = "writer"
access_key_id = "WRITER"
secret_access_key = "the-secret-of-writer"
"""


@pytest.fixture
def render(request, internet, tmp_path):
    """Renders values and creates the key services, Secrets and ConfigMaps that they need."""

    def render(paths, **options) -> Release:
        text = "\n".join(path.read_text() for path in paths)
        release = chart_release.release(paths, tmp_path / "notes", **options)
        authority = internet.certificates.ca_file.read_text()
        release.secrets |= {
            ("ceph-authority", "ca.crt"): authority,
            ("authorities", "ca.crt"): authority,
            ("s3proxy-clients", "reports"): "the-secret-of-reports",
            ("storage-configuration", "s3proxy.toml"): OWN_CONFIGURATION,
        }
        if "[[keys.vault]]" in text:
            release.edits.append(request.getfixturevalue("vault"))
        if "[[keys.aws_kms]]" in text:
            release.edits.append(request.getfixturevalue("aws_kms"))
            # The credential of a role, which the cluster gives to the pod.
            release.environment |= {"AWS_ACCESS_KEY_ID": INLINE.access_key, "AWS_SECRET_ACCESS_KEY": INLINE.secret_key}
        if "awsAccessKeyID" in text:
            release.environment |= request.getfixturevalue("key_service")
        if "existingConfigSecret: storage-configuration" in text:
            release.client = INLINE
        if listed := re.search(r'access_key_id = "(.*)"\n\s*secret_access_key = "(.*)"', text):
            release.client = Credential(*listed.groups())
        if "reports" in text:
            # The client in the example may only read, so another client is added.
            release.client = Credential("WRITER", "the-secret-of-writer")
            release.edits.append((r"\Z", WRITER))
        return release

    return render


@pytest.fixture
def run(internet, run_directory):
    """Starts releases, and stops them after the test."""
    started = []

    def run(release: Release, name: str):
        started.append(release.start(run_directory / f"proxy-chart-{name}-{secrets.token_hex(2)}", internet))
        return started[-1]

    yield run
    for running in started:
        running.stop()


@pytest.fixture
def bucket(internet):
    """A bucket with a name that the grants in the examples allow."""
    name = f"reports-{secrets.token_hex(4)}"
    boto3_client(internet.target).create_bucket(Bucket=name)
    return name


def as_client(endpoint: str, bucket: str, release: Release) -> tuple[str, str]:
    """The URL of an endpoint, or of a name under its wildcard, and the addressing style."""
    if "*" not in endpoint:
        return endpoint, PATH
    domain = endpoint.split("*.")[1].partition(":")[0]
    if domain.endswith(AWS) or domain in release.virtual_hosts():
        return endpoint.replace("*", bucket), VIRTUAL_HOST
    return endpoint.replace("*", "any-name"), PATH


def answer(running, pool, endpoint: str, bucket: str, key: str) -> bytes:
    """Gets an object. The signature and the certificate must match just this endpoint's name."""
    url, style = as_client(endpoint, bucket, running.release)
    target = running.target(url)
    path = key if style == VIRTUAL_HOST else f"{bucket}/{key}"
    request = AWSRequest("GET", f"{url}/{path}", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    credential = Credentials(target.credential.access_key, target.credential.secret_key)
    S3SigV4Auth(credential, "s3", target.region).add_auth(request)
    prepared = request.prepare()
    found = pool.request("GET", prepared.url, headers=dict(prepared.headers), redirect=False)
    return found.data if found.status == 200 else f"{found.status} {found.data.decode()}".encode()


def ask_by_every_name(running, bucket: str) -> None:
    stored = content(1000)
    endpoints = running.release.endpoints()
    plain = next(endpoint for endpoint in endpoints if "*" not in endpoint)
    with running.connecting():
        boto3_client(running.target(plain)).put_object(Bucket=bucket, Key="stored-before", Body=stored)
    wrong = {}
    with running.connecting():
        pool = urllib3.PoolManager(ca_certs=str(running.certificates.ca_file), retries=False)
        for endpoint in endpoints:
            try:
                found = answer(running, pool, endpoint, bucket, "stored-before")
            except urllib3.exceptions.HTTPError as error:
                found = str(error).encode()
            if found != stored:
                wrong[endpoint] = found[:300]
    assert not wrong, f"{len(wrong)} of {len(endpoints)} names: {dict(list(wrong.items())[:5])}"


def put_get_list_multipart_presigned(running, endpoint: str, bucket: str, directory) -> None:
    """Calls the name as applications do: with boto3, the AWS CLI and curl."""
    target = running.target(endpoint)
    small, large = content(1000), content(FIVE_MIB + 1000)
    with running.connecting():
        s3 = boto3_client(target)
        s3.put_object(Bucket=bucket, Key="boto3/small", Body=small)
        assert s3.get_object(Bucket=bucket, Key="boto3/small")["Body"].read() == small
        upload = {"Bucket": bucket, "Key": "boto3/large"}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        pieces = [large[:FIVE_MIB], large[FIVE_MIB:]]
        parts = [{"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]}
                 for number, piece in enumerate(pieces, 1)]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert s3.get_object(Bucket=bucket, Key="boto3/large")["Body"].read() == large
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="boto3/")["Contents"]
        assert {each["Key"]: each["Size"] for each in listed} == {"boto3/small": len(small), "boto3/large": len(large)}
        presigned = {operation: s3.generate_presigned_url(operation, {"Bucket": bucket, "Key": "curl/presigned"})
                     for operation in ("put_object", "get_object")}
    path = directory / "sent"
    path.write_bytes(small)
    running.curl(target, "--upload-file", path, presigned["put_object"])
    running.curl(target, "--output", directory / "received", presigned["get_object"])
    assert (directory / "received").read_bytes() == small

    (directory / "up").mkdir()
    (directory / "down").mkdir()
    (directory / "up/small").write_bytes(small)
    (directory / "up/large").write_bytes(large * 2)
    aws = AwsCli(target, directory, "5M", **running.for_aws_cli)
    aws.upload(bucket, "aws/", directory / "up")
    aws.download(bucket, "aws/", ["small", "large"], directory / "down")
    assert (directory / "down/large").read_bytes() == large * 2
    assert aws.sizes(bucket, "aws/") == {"small": len(small), "large": 2 * len(large)}


def ask(running, bucket, directory) -> None:
    """Sends one request by every name, and uses each name in the notes as applications do and with
    the notes' own commands."""
    ask_by_every_name(running, bucket)
    for endpoint in running.release.announced():
        put_get_list_multipart_presigned(running, endpoint, bucket, directory)
        by_aws_cli, by_curl = running.first_requests()
        assert bucket in by_aws_cli and f"<Name>{bucket}</Name>" in by_curl
        lists_clients = running.release.client is not None
        said = "S3 responds" if lists_clients else "PutObject, GetObject, DeleteObject: done"
        assert said in running.helm_test(bucket)


@pytest.mark.parametrize("name", chart.VALUE_SETS)
def test_a_value_set_serves_every_name_that_it_gives_to_clients(name, render, run, bucket, tmp_path):
    release = render([chart.values_file(name)])
    ask(run(release, name), bucket, tmp_path)


@pytest.mark.parametrize(("page", "files"), GUIDES)
def test_a_guides_values_serve_every_name(page, files, render, run, bucket, tmp_path):
    blocks = {block.mark(FILE): block.text for block in Page(ROOT / "docs" / page).blocks if block.mark(FILE)}
    for name in files:
        (tmp_path / name).write_text(blocks[name])
    release = render([tmp_path / name for name in files])
    ask(run(release, files[-1].removesuffix(".yaml")), bucket, tmp_path)


def test_the_manifests_for_dns_redirection_serve_every_name_and_call_the_same_backend(run, internet, bucket, tmp_path):
    release = chart_release.manifest(ROOT / "deploy/dns-redirection/s3proxy.yaml")
    before = len(internet.asked)
    running = run(release, "manifests")
    ask_by_every_name(running, bucket)
    [client] = chart.objects((ROOT / "deploy/dns-redirection/client.yaml").read_text())
    aliases = [name for alias in client["spec"]["hostAliases"] for name in alias["hostnames"]]
    assert {f"https://{name}" for name in aliases if name.startswith("s3.")} <= set(release.endpoints())
    wanted = {url.removeprefix("https://") for url in release.endpoints() if "*" not in url}
    assert wanted <= {authority.removesuffix(":443") for authority in internet.asked[before:]}


def test_filestashs_endpoint_is_one_of_the_releases_names(render, run, bucket, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text("config: {host: s3.eu-west-1.amazonaws.com, existingSecret: s3proxy}\n"
                      "cert: {enable: true, selfSigned: true}\n")
    page = (ROOT / "deploy/filestash/README.md").read_text()
    assert "a release" in page and "cert.selfSigned=true" in page
    [endpoint] = re.findall(r"Endpoint \| `(https://[^`]+)`", page)
    release = render([values])
    assert endpoint in release.endpoints()
    put_get_list_multipart_presigned(run(release, "filestash"), endpoint, bucket, tmp_path)


def test_jobs_do_their_work_with_the_settings_of_the_release(render, run, internet, run_directory):
    release = render([chart.values_file("jobs")])
    running = run(release, "jobs")
    direct = boto3_client(internet.target)
    for name in ("photos", "logs"):
        direct.create_bucket(Bucket=name)
    with running.connecting():
        s3 = boto3_client(running.target(release.announced()[0]))
        s3.put_object(Bucket="photos", Key="sealed", Body=b"sealed")
    printed = {}
    for each in release.found:
        if each["kind"] in ("Job", "CronJob"):
            job = each["spec"]["jobTemplate"] if each["kind"] == "CronJob" else each
            [container] = job["spec"]["template"]["spec"]["containers"]
            replica = "--replica=s3proxy-admin:9090"
            container["args"] = [word.replace(replica, f"--replica=127.0.0.1:{running.admin}") for word in container["args"]]
            printed[container["name"]] = release.run_job(run_directory / f"job-{container['name']}", job, internet)
    assert set(printed) == {"verify", "rewrap", "migrate", "sweep"}
    assert "verify: 1 object" in printed["verify"], printed
