package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/waggle-mesh/waggle/sandbox/internal/image"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// Sets of images that can be asked for.
const (
	SetBase        = "base"        // what the cluster itself runs
	SetE2E         = "e2e"         // what the project's end-to-end tests and examples use
	SetConformance = "conformance" // what the Gateway API's suite uses
	SetKubernetes  = "kubernetes"  // what Kubernetes' own suite uses
	SetAll         = "all"
)

// Sets lists them.
var Sets = []string{SetBase, SetE2E, SetConformance, SetKubernetes, SetAll}

// recipe says how an image is made: from one Go program, from Debian packages,
// or from both. Under a reference with the tag "*" it is served for every tag.
type recipe struct {
	name  string
	sets  []string
	refs  []string
	dir   string   // of the Go module, below the sandbox's sources
	pkg   string   // Go package, as seen from there; empty: no program
	debs  []string // with all they depend on
	files []image.File
	entry []string // the program, if none is given
	cmd   []string
	env   []string
}

const acceptance = "harbor.alpha-quant.tech/3rd_party/"

// catalog lists every image the project knows how to make. The stand-ins are
// served under the names that people's manifests use.
var catalog = []recipe{
	{name: "pause", sets: []string{SetBase}, refs: []string{"registry.k8s.io/pause:*"}, pkg: "./images/pause"},
	{name: "coredns", sets: []string{SetBase, SetConformance}, refs: []string{"registry.k8s.io/coredns/coredns:*"}, dir: "images/coredns", pkg: "."},

	{name: "probe", sets: []string{SetE2E}, refs: []string{"sandbox.test/probe:*"}, pkg: "./images/probe", cmd: []string{"sleep"}},
	{name: "echoserver", sets: []string{SetE2E}, pkg: "./images/echoserver",
		refs: []string{acceptance + "gcr.io/kubernetes-e2e-test-images/echoserver:*", "gcr.io/kubernetes-e2e-test-images/echoserver:*", "sandbox.test/echoserver:*"}},
	{name: "jsonmock", sets: []string{SetE2E}, refs: []string{"quay.io/cilium/json-mock:*"}, pkg: "./images/jsonmock"},
	{name: "tools", sets: []string{SetE2E, SetKubernetes}, debs: []string{"busybox", "curl"}, entry: []string{"/bin/sh"},
		refs: []string{
			acceptance + "docker.io/library/busybox:*", acceptance + "docker.io/nicolaka/netshoot:*", "docker.io/nicolaka/netshoot:*",
			"docker.io/library/busybox:*", "quay.io/cilium/alpine-curl:*", "docker.io/curlimages/curl:*", "registry.k8s.io/e2e-test-images/busybox:*",
		}},
	bookinfo("details", "v1"),
	bookinfo("ratings", "v1"),
	bookinfo("productpage", "v1"),
	bookinfo("reviews", "v1", "ENABLE_RATINGS=false"),
	bookinfo("reviews", "v2", "ENABLE_RATINGS=true"),
	bookinfo("reviews", "v3", "ENABLE_RATINGS=true", "STAR_COLOR=red"),
	{name: "fortio", sets: []string{SetE2E}, dir: "images/upstream", pkg: "fortio.org/fortio", cmd: []string{"server"},
		refs:  []string{"docker.io/fortio/fortio:*", "fortio.org/fortio:*"},
		files: []image.File{{Dest: "/usr/bin/fortio", Link: "/fortio"}}},
	{name: "wrk", sets: []string{SetAll}, refs: []string{"docker.io/williamyeh/wrk:*", "sandbox.test/wrk:*"}, debs: []string{"wrk"}, entry: []string{"/usr/bin/wrk"}},

	{name: "echo-basic", sets: []string{SetE2E, SetConformance}, dir: "images/upstream", pkg: "sigs.k8s.io/gateway-api/conformance/echo-basic",
		refs: []string{"registry.k8s.io/gateway-api/echo-basic:*", "gcr.io/k8s-staging-gateway-api/echo-basic:*"}},
	{name: "agnhost", sets: []string{SetKubernetes}, dir: "kube", pkg: "k8s.io/kubernetes/test/images/agnhost", cmd: []string{"pause"},
		debs:  []string{"busybox", "curl", "netcat-openbsd", "bind9-dnsutils"},
		refs:  []string{"registry.k8s.io/e2e-test-images/agnhost:*"},
		files: []image.File{{Dest: "/agnhost-2", Link: "agnhost"}}},
}

func bookinfo(service, version string, env ...string) recipe {
	name := service + "-" + version
	return recipe{
		name: "bookinfo-" + name, sets: []string{SetE2E}, pkg: "./images/bookinfo", cmd: []string{service},
		refs: []string{"docker.io/istio/examples-bookinfo-" + name + ":*"},
		env:  append([]string{"SERVICE_VERSION=" + version}, env...),
	}
}

// recipes picks those of the plan and the asked for sets.
func (b *Builder) recipes() ([]recipe, error) {
	for _, s := range b.Images {
		if !slices.Contains(Sets, s) {
			return nil, fmt.Errorf("-images %s: there are %v", s, Sets)
		}
	}
	var list []recipe
	for _, r := range catalog {
		base := slices.Contains(r.sets, SetBase) && (r.name != "coredns" || b.Plan.DNS)
		asked := slices.ContainsFunc(r.sets, func(s string) bool { return slices.Contains(b.Images, s) })
		if base || asked || slices.Contains(b.Images, SetAll) {
			list = append(list, r)
		}
	}
	return list, nil
}

// image makes one image and puts it into the store.
func (b *Builder) image(ctx context.Context, r recipe) error {
	dirs := []string{filepath.Join(b.Source, r.dir)}
	if r.dir == "" {
		dirs = []string{filepath.Join(b.Source, r.pkg)}
	}
	if r.pkg == "" {
		dirs = nil
	}
	sum, err := sumOf([]string{fmt.Sprintf("%v", r)}, dirs...)
	if err != nil {
		return err
	}
	store := b.Plan.Images()
	missing := slices.ContainsFunc(r.refs, func(ref string) bool { return !image.Has(store, ref) })
	result := store
	if missing {
		result = ""
	}
	return b.once("image-"+r.name, sum, result, func() error {
		img := image.Image{Refs: r.refs, Files: r.files, Entrypoint: r.entry, Cmd: r.cmd, Env: r.env}
		if r.pkg != "" {
			name := r.program()
			bin := filepath.Join(b.Plan.Cache, "bin", r.name)
			if err := b.goBuild(ctx, r.name, filepath.Join(b.Source, r.dir), r.pkg, "", bin); err != nil {
				return err
			}
			img.Files = append([]image.File{{Dest: "/" + name, Src: bin}}, img.Files...)
			img.Entrypoint = []string{"/" + name}
		}
		if r.debs != nil {
			img.Tree = filepath.Join(b.Plan.Cache, "trees", r.name)
			err := b.step("fetch packages of image "+r.name, func() error { return b.debianTree(ctx, img.Tree, r.debs) })
			if err != nil {
				return err
			}
			defer os.RemoveAll(img.Tree)
		}
		_, err := img.Write(store)
		return err
	})
}

// program is the name of the recipe's program.
func (r recipe) program() string {
	if r.pkg == "." {
		return filepath.Base(r.dir)
	}
	return filepath.Base(r.pkg)
}

// ProbePath is where the e2e client's program lies for use outside of pods.
func ProbePath(p *plan.Plan) string { return filepath.Join(p.Cache, "bin", "probe") }
