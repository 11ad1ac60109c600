// Package podexec runs commands in containers, as `kubectl exec` does. It is a
// package of its own so that programs on nodes are without it.
package podexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// ExitError is a command's that ran and did not end with exit code 0.
type ExitError struct {
	Code int    // its exit code
	Said string // what it wrote to stderr
	what string // it was, and where
}

// Error has all of it.
func (e *ExitError) Error() string {
	return fmt.Sprintf("run %s: exit code %d: %s", e.what, e.Code, e.Said)
}

// Run runs a command in a container and gives what it prints. A command that
// fails is an ExitError.
func Run(ctx context.Context, o kube.Options, pod model.Name, container string, command ...string) ([]byte, error) {
	config, err := kube.Config(o)
	if err != nil {
		return nil, err
	}
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &corev1.SchemeGroupVersion, "/api", scheme.Codecs
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	url := client.Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &said})
	what := fmt.Sprintf("%q in %s", command, pod)
	if exit := (exec.CodeExitError{}); errors.As(err, &exit) {
		err = &ExitError{Code: exit.Code, Said: strings.TrimSpace(said.String()), what: what}
	} else if err != nil {
		err = fmt.Errorf("run %s: %w", what, err)
	}
	return out.Bytes(), err
}
