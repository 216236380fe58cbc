// A Kubernetes API server for charts/check-server: the upstream command, compiled from its module.
//
// There is no binary of it in a package registry, and none of its own is needed: go.mod pins the
// version, and has the replacements that k8s.io/kubernetes wants of a module that is not itself.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}
