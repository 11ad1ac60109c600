// Package sysdump collects what is needed to understand a fault in a cluster
// into one archive: objects as the API server has them, logs of Waggle's pods,
// what agents and operators say of themselves, what each node's Envoy has, and
// the rules, routes and links of its kernel.
//
//	objects/<kind>.yaml   objects of the kinds that Waggle reads or writes; of Secrets the metadata
//	logs/<pod>-<container>[-previous].log
//	pods/<pod>/<question>.txt
//	missing.txt           what could not be had, and why
//
// It promises that no value of a Secret, no private key, no environment of a user's
// container and no value of a header such as authorization that a route has is in
// the archive. It changes nothing.
package sysdump

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Options say what to collect.
type Options struct {
	Namespace string // of Waggle's own
	LogLines  int    // the last of each container
	// Exec runs a command in a container of a pod of Namespace.
	Exec func(ctx context.Context, pod model.Name, container string, command ...string) ([]byte, error)
	// Tell is told what is being collected.
	Tell func(what string)
}

// dump is an archive in the making.
type dump struct {
	Options
	client  *kube.Client
	zip     *zip.Writer
	missing []string
	err     error // of the archive
}

// Write collects everything into a zip archive. What cannot be had is said in it;
// an error is one of writing.
func Write(ctx context.Context, c *kube.Client, out io.Writer, o Options) error {
	d := &dump{Options: o, client: c, zip: zip.NewWriter(out)}
	for _, path := range objects(o.Namespace) {
		d.Tell(path)
		d.objects(ctx, path)
	}
	pods, err := kube.List(ctx, c, kube.Pods, o.Namespace, metav1.ListOptions{})
	d.lacks("pods", err)
	for _, p := range pods {
		if isOurs(p) {
			d.Tell("pod " + p.Name)
			d.logs(ctx, p)
			d.questions(ctx, p)
		}
	}
	slices.Sort(d.missing)
	d.file("missing.txt", []byte(strings.Join(d.missing, "\n")))
	return errors.Join(d.err, d.zip.Close())
}

// objects are the paths of what is collected from the API server.
func objects(namespace string) []string {
	own := "/namespaces/" + namespace
	return []string{
		"/version",
		"/api/v1/nodes", "/api/v1/namespaces", "/api/v1/services", "/api/v1/pods", "/api/v1/secrets", "/api/v1/events",
		"/api/v1" + own + "/configmaps/cilium-config",
		"/apis/discovery.k8s.io/v1/endpointslices",
		"/apis/apps/v1" + own + "/daemonsets", "/apis/apps/v1" + own + "/deployments",
		"/apis/coordination.k8s.io/v1" + own + "/leases",
		"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
		"/apis/gateway.networking.k8s.io/v1/gatewayclasses", "/apis/gateway.networking.k8s.io/v1/gateways",
		"/apis/gateway.networking.k8s.io/v1/httproutes", "/apis/gateway.networking.k8s.io/v1/referencegrants",
		"/apis/cilium.io/v2/ciliumenvoyconfigs", "/apis/cilium.io/v2/ciliumclusterwideenvoyconfigs",
		"/apis/cilium.io/v2/ciliumloadbalancerippools", "/apis/cilium.io/v2/ciliumidentities", "/apis/cilium.io/v2/ciliumendpoints",
		"/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies", "/apis/cilium.io/v2alpha1/ciliumgatewayclassconfigs",
		"/apis/waggle.io/v1alpha1/envoynodes",
	}
}

// isOurs tells of a pod in Waggle's namespace whether it is Waggle's.
func isOurs(p *corev1.Pod) bool {
	return p.Labels["app.kubernetes.io/part-of"] == "cilium" || p.Labels["k8s-app"] == "cilium" || p.Labels["k8s-app"] == "cilium-envoy" || p.Labels["name"] == "cilium-operator"
}

// objects files what the API server has at a path, without secrets.
func (d *dump) objects(ctx context.Context, at string) {
	read := func() ([]byte, error) { return d.client.Raw(ctx, at, nil) }
	if path.Base(at) == "secrets" { // values do not even get here
		read = func() ([]byte, error) { return d.client.Metadata(ctx, at) }
	}
	text, err := read()
	var tree any
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err == nil {
		text, err = yaml.Marshal(redactObjects(tree))
	}
	if d.lacks(at, err) {
		return
	}
	d.file("objects/"+path.Base(at)+".yaml", text)
}

// logs files what the containers of a pod have said, also before their last
// restart.
func (d *dump) logs(ctx context.Context, p *corev1.Pod) {
	for _, c := range p.Status.ContainerStatuses {
		for _, previous := range []bool{false, true} {
			if previous && c.RestartCount == 0 {
				continue
			}
			name := fmt.Sprintf("logs/%s-%s.log", p.Name, c.Name)
			if previous {
				name = fmt.Sprintf("logs/%s-%s-previous.log", p.Name, c.Name)
			}
			at := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log", p.Namespace, p.Name)
			text, err := d.client.Raw(ctx, at, map[string]string{
				"container": c.Name, "previous": fmt.Sprint(previous), "tailLines": fmt.Sprint(d.LogLines), "timestamps": "true",
			})
			if !d.lacks(name, err) {
				d.file(name, redactText(text))
			}
		}
	}
}

// asked are questions to the containers of Waggle's pods, by container.
var asked = map[string][][]string{
	"cilium-agent": {
		{"status", "-o", "yaml"}, {"endpoint", "list", "-o", "yaml"}, {"service", "list", "-o", "yaml"}, {"map", "list"},
		{"envoy", "config"}, {"envoy", "clusters"}, {"envoy", "listeners"}, {"envoy", "stats"}, {"cec", "list", "-o", "yaml"},
		{"map", "get", "frontends"}, {"map", "get", "sets"}, {"map", "get", "backends"}, {"map", "get", "endpoints"}, {"map", "get", "ipcache"},
		{"network"}, {"version"},
	},
	"cilium-operator": {{"status", "-o", "yaml"}, {"version"}},
}

// answering is how long one question may take.
const answering = 20 * time.Second

func (d *dump) questions(ctx context.Context, p *corev1.Pod) {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running == nil {
			continue
		}
		for _, question := range asked[c.Name] {
			name := fmt.Sprintf("pods/%s/%s.txt", p.Name, strings.Trim(strings.Join(question, "-"), "-"))
			limited, cancel := context.WithTimeout(ctx, answering)
			text, err := d.Exec(limited, model.Name{Namespace: p.Namespace, Name: p.Name}, c.Name, append([]string{"waggle"}, question...)...)
			cancel()
			if len(text) > 0 { // also of a command that says by its exit code that something is wrong
				text, err = redactAnswer(text)
			}
			if len(text) > 0 {
				d.file(name, text)
			} else {
				d.lacks(name, err)
			}
		}
	}
}

// lacks takes note of what could not be had.
func (d *dump) lacks(what string, err error) bool {
	if err != nil {
		d.missing = append(d.missing, fmt.Sprintf("%s: %v", what, err))
	}
	return err != nil
}

func (d *dump) file(name string, text []byte) {
	if d.err != nil {
		return
	}
	w, err := d.zip.Create(name)
	if err == nil {
		_, err = w.Write(text)
	}
	d.err = err
}
