package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/waggle-mesh/waggle/sandbox/internal/image"
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

// recipe says how an image is made: from Go programs, from Debian packages, or
// from both. Under a reference with the tag "*" it is served for every tag.
type recipe struct {
	name  string
	sets  []string
	refs  []string
	dir   string   // of the Go module, below the sandbox's sources
	pkgs  []string // Go packages, as seen from there; the first is the entrypoint
	debs  []string // with all they depend on
	files []image.File
	entry []string // the program, if none is given
	cmd   []string
	env   []string
	cert  bool // put a self-signed certificate at /cert.crt and /cert.key
}

const acceptance = "harbor.alpha-quant.tech/3rd_party/"

// catalog lists every image the project knows how to make. The stand-ins are
// served under the names that people's manifests use.
var catalog = []recipe{
	{name: "pause", sets: []string{SetBase}, refs: []string{"registry.k8s.io/pause:*"}, pkgs: []string{"./images/pause"}},
	{name: "coredns", sets: []string{SetBase, SetConformance}, refs: []string{"registry.k8s.io/coredns/coredns:*"}, dir: "images/coredns", pkgs: []string{"."}},

	{name: "probe", sets: []string{SetE2E}, refs: []string{"sandbox.test/probe:*"}, pkgs: []string{"./images/probe"}, cmd: []string{"sleep"}},
	{name: "echoserver", sets: []string{SetE2E}, pkgs: []string{"./images/echoserver"},
		refs: []string{acceptance + "gcr.io/kubernetes-e2e-test-images/echoserver:*", "gcr.io/kubernetes-e2e-test-images/echoserver:*", "sandbox.test/echoserver:*"}},
	{name: "webhook", sets: []string{SetE2E}, refs: []string{"sandbox.test/webhook:*"}, pkgs: []string{"./images/webhook"}},
	{name: "jsonmock", sets: []string{SetE2E}, refs: []string{"quay.io/cilium/json-mock:*"}, pkgs: []string{"./images/jsonmock"}},
	{name: "tools", sets: []string{SetE2E, SetKubernetes}, debs: []string{"busybox", "curl", "wget"}, entry: []string{"/bin/sh"},
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
	{name: "fortio", sets: []string{SetE2E}, dir: "images/upstream", pkgs: []string{"fortio.org/fortio"}, cmd: []string{"server"},
		refs:  []string{"docker.io/fortio/fortio:*", "fortio.org/fortio:*"},
		files: []image.File{{Dest: "/usr/bin/fortio", Link: "/fortio"}}},
	{name: "wrk", sets: []string{SetAll}, refs: []string{"docker.io/williamyeh/wrk:*", "sandbox.test/wrk:*"}, debs: []string{"wrk"}, entry: []string{"/usr/bin/wrk"}},

	{name: "echo-basic", sets: []string{SetE2E, SetConformance}, dir: "images/upstream", pkgs: []string{"sigs.k8s.io/gateway-api/conformance/echo-basic"},
		refs: []string{"registry.k8s.io/gateway-api/echo-basic:*", "gcr.io/k8s-staging-gateway-api/echo-basic:*"}},
	{name: "echo-advanced", sets: []string{SetConformance}, dir: "images/echoadvanced", cert: true,
		pkgs: []string{"istio.io/istio/pkg/test/echo/cmd/server", "istio.io/istio/pkg/test/echo/cmd/client"},
		refs: []string{"registry.k8s.io/gateway-api/echo-advanced:*"}},
	{name: "glibc-dns", sets: []string{SetKubernetes}, debs: []string{"busybox", "bind9-dnsutils", "libc-bin"}, entry: []string{"/bin/sh"},
		refs: []string{"registry.k8s.io/e2e-test-images/glibc-dns-testing:*"}},
	{name: "boom", sets: []string{SetKubernetes}, dir: "kube", pkgs: []string{"k8s.io/kubernetes/test/images/regression-issue-74839"},
		refs: []string{"registry.k8s.io/e2e-test-images/regression-issue-74839:*"}},
	{name: "agnhost", sets: []string{SetKubernetes}, cert: true, dir: "kube", pkgs: []string{"k8s.io/kubernetes/test/images/agnhost"}, cmd: []string{"pause"},
		debs:  []string{"busybox", "curl", "wget", "netcat-openbsd", "bind9-dnsutils", "iproute2", "libc-bin"},
		refs:  []string{"registry.k8s.io/e2e-test-images/agnhost:*"},
		files: []image.File{{Dest: "/agnhost-2", Link: "agnhost"}, {Dest: "/localhost.crt", Link: "cert.crt"}, {Dest: "/localhost.key", Link: "cert.key"}}},
}

func bookinfo(service, version string, env ...string) recipe {
	name := service + "-" + version
	return recipe{
		name: "bookinfo-" + name, sets: []string{SetE2E}, pkgs: []string{"./images/bookinfo"}, cmd: []string{service},
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

// sum is a digest of all that the image depends on.
func (b *Builder) sum(r recipe) (string, error) {
	var dirs []string
	switch {
	case r.dir != "":
		dirs = []string{filepath.Join(b.Source, r.dir)}
	case r.pkgs != nil:
		dirs = []string{filepath.Join(b.Source, r.pkgs[0])}
	}
	return sumOf([]string{fmt.Sprintf("%v", r)}, dirs...)
}

// image makes one image and puts it into the store.
func (b *Builder) image(ctx context.Context, r recipe) error {
	sum, err := b.sum(r)
	if err != nil {
		return err
	}
	result := b.Plan.Images()
	if slices.ContainsFunc(r.refs, func(ref string) bool { return !image.Has(result, ref) }) {
		result = "" // is missing
	}
	return b.once("image-"+r.name, sum, result, func() error {
		img := image.Image{Refs: r.refs, Entrypoint: r.entry, Cmd: r.cmd, Env: r.env}
		for i, pkg := range r.pkgs {
			name := filepath.Base(pkg)
			if pkg == "." {
				name = filepath.Base(r.dir)
			}
			label := r.name
			if i > 0 {
				label += "-" + name
			}
			bin := filepath.Join(b.Plan.Cache, "bin", label)
			if err := b.goBuild(ctx, label, filepath.Join(b.Source, r.dir), pkg, "", bin); err != nil {
				return err
			}
			img.Files = append(img.Files, image.File{Dest: "/" + name, Src: bin})
		}
		if r.pkgs != nil {
			img.Entrypoint = []string{img.Files[0].Dest}
		}
		img.Files = append(img.Files, r.files...)
		img.Tree = filepath.Join(b.Plan.Cache, "trees", r.name)
		defer os.RemoveAll(img.Tree)
		if err := b.tree(ctx, r, img.Tree); err != nil {
			return err
		}
		_, err := img.Write(b.Plan.Images())
		return err
	})
}

// tree makes the folder of the image's files that are not programs of ours.
func (b *Builder) tree(ctx context.Context, r recipe, root string) error {
	if r.debs != nil {
		err := b.step("fetch packages of image "+r.name, func() error { return b.debianTree(ctx, root, r.debs) })
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if r.cert {
		return writeCertificate(filepath.Join(root, "cert.crt"), filepath.Join(root, "cert.key"))
	}
	return nil
}
