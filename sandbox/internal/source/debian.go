package source

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// runtimePackages are the container runtime, CNI plugins, and what kube-proxy
// and the masquerading of pods call. A name that a distribution does not have,
// because it spells the library's name with t64, is left out.
var runtimePackages = []string{
	"containerd", "runc", "libseccomp2", "containernetworking-plugins",
	"nftables", "libnftables1", "libnftnl11", "libmnl0", "libjansson4", "libedit2", "libbsd0", "libmd0",
	"iptables", "libxtables12", "libip4tc2", "libip6tc2", "libnetfilter-conntrack3", "libnfnetlink0",
}

// runtime provides containerd and runc: the distribution's packages, unpacked,
// unless the user brings others.
func (b *Builder) runtime(ctx context.Context) error {
	if b.Plan.Runtime != "" {
		return nil
	}
	root := b.Plan.Root()
	sum, err := sumOf(runtimePackages)
	if err != nil {
		return err
	}
	return b.once("runtime", sum, root, func() error {
		return b.step("fetch containerd, runc and network tools", func() error {
			tmp := root + ".new"
			if err := b.unpack(ctx, tmp, runtimePackages); err != nil {
				return err
			}
			for _, l := range []string{"iptables", "ip6tables"} { // links that installing would make
				for _, v := range []string{"", "-save", "-restore"} {
					if err := os.Symlink("xtables-nft-multi", filepath.Join(tmp, "usr/sbin", l+v)); err != nil {
						return err
					}
				}
			}
			if err := os.RemoveAll(root); err != nil {
				return err
			}
			return os.Rename(tmp, root)
		})
	})
}

// unpack downloads packages and unpacks them into a new folder.
func (b *Builder) unpack(ctx context.Context, root string, packages []string) error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: packages are taken from Debian or Ubuntu; elsewhere build the runtime from Go (\"A newer containerd\" in README.md) and give -runtime: %w", tool, err)
		}
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	debs, err := os.MkdirTemp(b.Plan.Cache, "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	download := func() error {
		known, err := b.known(ctx, packages)
		if err != nil {
			return err
		}
		_, err = command(ctx, debs, nil, nil, append([]string{"apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root"}, known...)...)
		return err
	}
	if err := b.withLists(ctx, download); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, err := command(ctx, debs, nil, nil, "dpkg", "-x", f, root); err != nil {
			return err
		}
	}
	return mergeUsr(root)
}

// withLists tries again with new package lists when something fails: those of
// the machine may be missing, or so old that the files they name are gone. Jobs
// that run side by side share one update, as apt allows no other.
func (b *Builder) withLists(ctx context.Context, try func() error) error {
	if try() == nil {
		return nil
	}
	b.lists.Do(func() {
		_, b.listsErr = command(ctx, "", nil, nil, "apt-get", "update", "-qq")
	})
	if b.listsErr != nil {
		return b.listsErr
	}
	return try()
}

// mergeUsr makes /lib and the like where packages expect them to be links.
func mergeUsr(root string) error {
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if _, err := os.Lstat(filepath.Join(root, d)); err == nil {
			continue
		}
		if err := os.Symlink("usr/"+d, filepath.Join(root, d)); err != nil {
			return err
		}
	}
	return nil
}

// known drops packages that this distribution does not have.
func (b *Builder) known(ctx context.Context, packages []string) ([]string, error) {
	out, err := command(ctx, "", nil, nil, append([]string{"apt-cache", "policy"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var known []string
	name := ""
	for line := range strings.Lines(out) {
		if n, ok := strings.CutSuffix(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, " ") {
			name = n
		}
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && c != "(none)" {
			known = append(known, name)
		}
	}
	if !slices.Contains(known, packages[0]) {
		return nil, fmt.Errorf("package %s is not in the distribution's lists", packages[0])
	}
	return known, nil
}

// closure lists packages with all they depend on.
func (b *Builder) closure(ctx context.Context, packages []string) ([]string, error) {
	var out string
	argv := []string{"apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}
	err := b.withLists(ctx, func() (err error) {
		out, err = command(ctx, "", nil, nil, append(argv, packages...)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := slices.Clone(packages)
	for line := range strings.Lines(out) {
		name := strings.TrimSpace(line)
		if name != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "<") && !strings.HasPrefix(line, "debconf") && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

// debianTree unpacks programs with their libraries for an image, without what
// only people read, and with busybox's commands under their names.
func (b *Builder) debianTree(ctx context.Context, root string, packages []string) error {
	all, err := b.closure(ctx, packages)
	if err != nil {
		return err
	}
	if err := b.unpack(ctx, root, all); err != nil {
		return err
	}
	for _, d := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/bash-completion", "usr/share/lintian", "usr/lib/" + plan.Triple() + "/gconv"} {
		if err := os.RemoveAll(filepath.Join(root, d)); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(root, "bin/nc.openbsd")); err == nil { // a link that installing would make
		if err := os.Symlink("nc.openbsd", filepath.Join(root, "bin/nc")); err != nil {
			return err
		}
	}
	busybox := filepath.Join(root, "bin/busybox")
	if _, err := os.Stat(busybox); err != nil {
		return nil
	}
	out, err := command(ctx, "", nil, nil, busybox, "--list")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(out) {
		link := filepath.Join(root, "bin", name)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if _, err := os.Lstat(filepath.Join(root, "usr/bin", name)); err == nil {
			continue // the real program
		}
		if err := os.Symlink("busybox", link); err != nil {
			return err
		}
	}
	return nil
}
