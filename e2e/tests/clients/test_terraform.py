"""Terraform keeps its state in a bucket, and the lock object keeps a second run out."""

import json

import pytest

from cells import cell
from clients import boto3_client
from clients_python import run_program
from processes import CommandFailed

_VERSION = "1.15.5"
_LOCK = "state/terraform.tfstate.tflock"


@cell("Terraform", "S3 backend: init, apply, state, output", version=_VERSION)
def test_state_goes_to_the_bucket_and_comes_back(place):
    terraform = Terraform(place)
    assert f"Terraform v{_VERSION}" in terraform("version")
    terraform("init", "-input=false")
    terraform("apply", "-auto-approve", "-input=false", "-var=word=first")
    terraform("apply", "-auto-approve", "-input=false", "-var=word=second")
    state = json.loads(terraform("state", "pull"))
    assert state["serial"] >= 2
    assert json.loads(terraform("output", "-json"))["word"]["value"] == "second"


@cell(
    "Terraform",
    "S3 backend: lock file (`use_lockfile`)",
    version=_VERSION,
    without={"garage": "it ignores `If-None-Match` on a write, and both runs get the lock"},
)
def test_second_run_stays_out_while_the_state_is_locked(place):
    terraform = Terraform(place)
    terraform("init", "-input=false")
    terraform("apply", "-auto-approve", "-input=false", "-var=word=first")
    lock = {"ID": "f" * 8, "Operation": "OperationTypeApply", "Who": "another", "Version": _VERSION,
            "Created": "2026-01-01T00:00:00Z", "Path": f"{place.bucket}/state/terraform.tfstate"}
    s3 = boto3_client(place.target)
    s3.put_object(Bucket=place.bucket, Key=_LOCK, Body=json.dumps(lock))
    with pytest.raises(CommandFailed, match="Error acquiring the state lock"):
        terraform("apply", "-auto-approve", "-input=false", "-var=word=second", "-lock-timeout=0s")
    terraform("force-unlock", "-force", lock["ID"])
    terraform("apply", "-auto-approve", "-input=false", "-var=word=second")
    assert json.loads(terraform("output", "-json"))["word"]["value"] == "second"


class Terraform:
    """A configuration with one built-in resource, so that no provider is downloaded."""

    def __init__(self, place):
        self._place = place
        (place.scratch / "main.tf").write_text(f"""
terraform {{
  backend "s3" {{
    bucket                      = "{place.bucket}"
    key                         = "state/terraform.tfstate"
    region                      = "{place.target.region}"
    endpoints                   = {{ s3 = "{place.target.url}" }}
    use_path_style              = true
    use_lockfile                = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
  }}
}}
variable "word" {{}}
resource "terraform_data" "thing" {{
  input = var.word
}}
output "word" {{
  value = terraform_data.thing.output
}}
""")
        (place.home / "terraform.rc").touch()

    def __call__(self, *arguments: str) -> str:
        return run_program(
            self._place,
            "terraform.py",
            f"-chdir={self._place.scratch}",
            *arguments,
            CHECKPOINT_DISABLE="1",
            TF_IN_AUTOMATION="1",
            TF_CLI_CONFIG_FILE=str(self._place.home / "terraform.rc"),
        )
