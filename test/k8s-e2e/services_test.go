// Package k8se2e is Kubernetes' own end-to-end suite, cut down to the specs of
// [sig-network]: what whatever serves Services must pass, in the sandbox.
//
// It is a module of its own because k8s.io/kubernetes needs replace directives.
// run.sh chooses the specs, by left-out.txt, and the cluster.
package k8se2e

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"k8s.io/kubernetes/test/e2e"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"
	_ "k8s.io/kubernetes/test/e2e/framework/metrics/init"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"
	"k8s.io/kubernetes/test/e2e/framework/testfiles"
	_ "k8s.io/kubernetes/test/e2e/network"
	manifests "k8s.io/kubernetes/test/e2e/testing-manifests"
)

func TestMain(m *testing.M) {
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	testfiles.AddFileSource(manifests.GetE2ETestingManifestsFS())
	framework.AfterReadingAllFlags(&framework.TestContext)
	os.Exit(m.Run())
}

func TestServices(t *testing.T) { e2e.RunE2ETests(t) }

// A spec that skips itself has shown nothing: it belongs into left-out.txt, or
// the cluster must be another.
var _ = ginkgo.ReportAfterSuite("no spec skips itself", func(_ ginkgo.SpecContext, report ginkgo.Report) {
	var skipped []string
	for _, spec := range report.SpecReports.WithState(types.SpecStateSkipped) {
		if spec.Failure.Message != "" {
			skipped = append(skipped, spec.FullText()+": "+spec.Failure.Message)
		}
	}
	if len(skipped) > 0 {
		ginkgo.Fail("specs that skipped themselves:\n" + strings.Join(skipped, "\n"))
	}
})

// Every line of left-out.txt is a reason for some spec: a line that has lost
// its specs goes, so that the list says what is missing and no more.
func TestLeftOut(t *testing.T) {
	text, err := os.ReadFile("left-out.txt")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, spec := range ginkgo.PreviewSpecs("services").SpecReports {
		if name := spec.FullText(); strings.Contains(name, "[sig-network]") {
			names = append(names, name)
		}
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, err := regexp.Compile(line)
		if err != nil {
			t.Errorf("left-out.txt: %v", err)
			continue
		}
		found := false
		for _, name := range names {
			found = found || pattern.MatchString(name)
		}
		if !found {
			t.Errorf("left-out.txt: none of %d specs is like %q", len(names), line)
		}
	}
}
