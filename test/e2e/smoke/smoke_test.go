// Package smoke shows in a minute that a cluster works: names, images, exec and
// the ways in from outside.
package smoke

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m) }

// A Service shares requests between two versions, found by its name.
func TestBookstore(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/bookstore.yaml")
	c.Wait("deployment/bookstore-v1", "Available")
	c.Wait("deployment/bookstore-v2", "Available")
	client := c.Client("")
	client.Hears("http://bookstore:8080", "v1", "v2")
	got := client.Do(e2e.Request{URL: "http://bookstore:8080", Count: throws})
	c.Shares(got, map[string]float64{"v1": 50, "v2": 50}, 5)
}

// throws is how many requests make 5 points four standard deviations when the
// service proxy throws dice: wrong once in 16,000 runs.
const throws = 1600

// The same with a server that takes one connection at a time and refuses
// between two, so that it is the answers that are shared. They come at a rate
// that gives it time, and with room for one pod that is slower.
func TestBookstoreOneAtATime(t *testing.T) {
	files := append(e2e.Acceptance(t, "bookstore/bookstore.yaml"), filepath.Join(e2e.Root(), "examples", "bookstore", "bookstore.yaml"))
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) { oneAtATime(t, file) })
	}
}

func oneAtATime(t *testing.T, file string) {
	c := e2e.In(t, "default")
	c.Apply(file)
	c.Wait("deployment/bookstore-v1", "Available")
	c.Wait("deployment/bookstore-v2", "Available")
	client := c.Client("")
	client.Hears("http://bookstore:8080", "v1", "v2")
	var answers e2e.Responses
	c.Eventually("enough answers", func() error {
		got := client.Do(e2e.Request{URL: "http://bookstore:8080", Count: throws / 2, Rate: 100})
		answers = append(answers, slices.DeleteFunc(got, e2e.Response.Failed)...)
		if len(answers) < throws {
			return fmt.Errorf("%d of %d", len(answers), throws)
		}
		return nil
	})
	c.Shares(answers, map[string]float64{"Response from v1": 50, "Response from v2": 50}, 10)
}

// The product page asks two services, one of which asks a third.
func TestBookinfo(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/bookinfo.yaml")
	for _, d := range []string{"details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3", "productpage-v1"} {
		c.Wait("deployment/"+d, "Available")
	}
	client := c.Client("")
	page := client.OK(e2e.Request{URL: "http://productpage:9080/productpage"}, 200)
	for _, want := range []string{"The Comedy of Errors", "William Shakespeare", "Reviews served by: reviews-v"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page lacks %q:\n%s", want, page.Body)
		}
	}
	const details = `{"id":1,"author":"William Shakespeare","year":1595,"type":"paperback","pages":200,"publisher":"PublisherA","language":"English","ISBN-10":"1234567890","ISBN-13":"123-1234567890"}`
	if got := client.Get("http://details:9080/details/1").Body; got != details {
		t.Errorf("details: %s", got)
	}
	client.Hears("http://reviews:9080/reviews/0", "reviews-v1", "reviews-v2", "reviews-v3")
	reviews := client.Do(e2e.Request{URL: "http://reviews:9080/reviews/0", Count: throws})
	c.Shares(reviews, map[string]float64{"reviews-v1": 33.3, "reviews-v2": 33.3, "reviews-v3": 33.3}, 5)
}

// Every stand-in image runs and does what manifests expect of it.
func TestImages(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/images.yaml")
	for _, p := range []string{"echoserver", "json-mock", "fortio", "echo-basic", "busybox", "netshoot", "alpine-curl"} {
		c.Wait("pod/"+p, "Ready")
	}
	client := c.Client("")
	pod := func(name, port string) string {
		return "http://" + e2e.HostPort(c.Get("pod/"+name, "{.status.podIP}"), port)
	}
	for url, want := range map[string]string{
		pod("echoserver", "8080") + "/a?b=c": "real path=/a?b=c",
		pod("json-mock", "8080") + "/":       `"posts"`,
		pod("fortio", "8080") + "/debug":     "Φορτίο version",
		pod("echo-basic", "3000") + "/a":     `"path": "/a"`,
	} {
		if got := client.OK(e2e.Request{URL: url}, 200); !strings.Contains(got.Body, want) {
			t.Errorf("%s lacks %q:\n%s", url, want, got.Body)
		}
	}
	if got := client.Get(pod("json-mock", "8080") + "/foo"); got.Status != 404 {
		t.Errorf("json-mock /foo: %d, want 404", got.Status)
	}
	service := fmt.Sprintf("http://echoserver.%s.svc.cluster.local", c.Namespace) // through glibc and cluster DNS
	for _, p := range []string{"busybox", "netshoot", "alpine-curl"} {
		if got := c.Kubectl("exec", p, "--", "sh", "-c", "curl -sS "+service+"; nslookup "+filepath.Base(service)); !strings.Contains(got, "Hostname: echoserver") {
			t.Errorf("curl in %s: %s", p, got)
		}
	}
}

// Commands run in pods with their input, output and exit status.
func TestExec(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Kubectl("run", "shell", "--image=busybox", "--command", "--", "sleep", "infinity")
	c.Wait("pod/shell", "Ready")
	if got := c.Stream(nil, "in\n", "exec", "-i", "shell", "--", "sh", "-c", "read x; echo $(hostname) $x; exit 7"); got != "shell in\ncommand terminated with exit code 7" {
		t.Errorf("got %q", got)
	}
}

// NodePorts answer the outside world, the machine, and the nodes; LoadBalancer
// addresses the outside world; pod and Service addresses nobody outside.
func TestOutside(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/outside.yaml")
	c.Wait("deployment/echo", "Available")
	port := c.Get("service/echo", "{.spec.ports[0].nodePort}")
	for _, node := range c.Nodes() {
		url := "http://" + e2e.HostPort(c.NodeIP(node), port)
		for _, from := range []string{"ext", "host", c.Nodes()[0]} {
			if got := c.From(from).OK(e2e.Request{URL: url}, 200); !strings.HasPrefix(got.Backend(), "echo-") {
				t.Errorf("%s from %s: %s", url, from, got.Body)
			}
		}
	}
	vip := c.FreeLoadBalancerIP()
	c.Kubectl("patch", "service", "echo", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"`+vip+`"}]}}}`)
	c.From("ext").OK(e2e.Request{URL: "http://" + e2e.HostPort(vip, "80")}, 200)
	c.From("host").OK(e2e.Request{URL: "http://" + e2e.HostPort(vip, "80")}, 200)

	inside := c.Get("service/echo", "{.spec.clusterIP}")
	for _, from := range []string{"ext", "host"} {
		if got := c.From(from).Get("http://" + e2e.HostPort(inside, "80")); got.Error == "" {
			t.Errorf("the ClusterIP answers %s: %d %s", from, got.Status, got.Body)
		}
	}
}
