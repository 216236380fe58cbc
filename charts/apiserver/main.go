// A Kubernetes API server for charts/check-server: the upstream command, compiled from its module.
//
// No package registry has a binary of it. go.mod pins the version, and repeats the replacements that
// k8s.io/kubernetes has only for builds of its own module.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
