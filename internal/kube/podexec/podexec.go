// Package podexec runs commands in containers, as `kubectl exec` does. It is a
// package of its own so that programs on nodes are without it.
package podexec

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Run runs a command in a container and gives what it prints. A command that
// fails is an error with what it says of it.
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
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &said}); err != nil {
		return out.Bytes(), fmt.Errorf("run %q in %s: %w: %s", command, pod, err, strings.TrimSpace(said.String()))
	}
	return out.Bytes(), nil
}
