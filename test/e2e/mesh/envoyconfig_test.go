package mesh

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

const (
	url1 = "http://echo-service-1:8080"
	url2 = "http://echo-service-2:8080"
)

// Envoy's administration answers at every node, to who asks for it clusterwide.
func TestEnvoyAdmin(t *testing.T) {
	scenario(t, "admin", func(c *e2e.Test, s seed) {
		c.Apply(s.file("admin/admin-listener.yaml"))
		c.Wait("ccec/envoy-admin-listener", "Programmed")
		for _, node := range c.Nodes() {
			r := c.From("ext").OK(e2e.Request{URL: "http://" + e2e.HostPort(c.NodeIP(node), "9901") + "/config_dump"}, 200)
			if !strings.Contains(r.Body, `"configs"`) {
				c.Errorf("config_dump of %s: %.200s", node, r.Body)
			}
		}
		text := strings.NewReplacer("CiliumClusterwideEnvoyConfig", "CiliumEnvoyConfig", "envoy-admin-listener", "tenant").Replace(s.text(c, "admin/admin-listener.yaml"))
		if reason := c.Refused(text); !strings.Contains(reason, "a listener of a CiliumEnvoyConfig has no address") {
			c.Errorf("a tenant's listener at the nodes' addresses is refused with %s", reason)
		}
		c.Apply("testdata/tenant.yaml")
		c.Wait("cec/tenant", "Accepted=False")
		if got := c.Get("cec/tenant", "{.status.conditions[0].reason}: {.status.conditions[0].message}"); !strings.HasPrefix(got, "Refused: resources[0]") || !strings.Contains(got, "envoy-admin") {
			c.Errorf("a tenant who leads to the administration is told %s", got)
		}
	})
}

// Envoy's metrics at every node.
func TestMetricsListener(t *testing.T) {
	scenario(t, "metrics-listener", func(c *e2e.Test, s seed) {
		c.Apply(s.file("metrics-listener/metrics-listener.yaml"))
		c.Wait("ccec/envoy-prometheus-metrics-listener", "Programmed")
		for _, node := range c.Nodes() {
			url := "http://" + e2e.HostPort(c.NodeIP(node), "9090")
			if r := c.From("ext").OK(e2e.Request{URL: url + "/metrics"}, 200); !strings.Contains(r.Body, "# TYPE envoy_") {
				c.Errorf("metrics of %s: %.200s", node, r.Body)
			}
			if r := c.From("ext").Get(url + "/config_dump"); r.Status != 404 {
				c.Errorf("%s shows more than metrics: %d", node, r.Status)
			}
		}
	})
}

// Requests to two Services are rewritten and shared between both, and nothing
// fails when that begins, changes and ends.
func TestRewrite(t *testing.T) {
	scenario(t, "rewrite", func(c *e2e.Test, s seed) {
		application(c)
		for _, node := range c.Nodes() {
			client := c.Client(node)
			client.OK(e2e.Request{URL: url2}, 200)
			client.OK(e2e.Request{URL: url1 + "/foo"}, 404)
		}
		client := c.Client("")
		load := client.Load(e2e.Request{URL: url1, Rate: 100})
		kept := client.Load(e2e.Request{URL: url2, Rate: 100, KeepAlive: true})
		c.Apply(s.file("rewrite/lb-listener.yaml"))
		c.Wait("ccec/envoy-lb-listener", "Programmed")
		for _, url := range []string{url1, url2} {
			client.OK(e2e.Request{URL: url + "/foo"}, 200)
			c.Shares(client.Do(e2e.Request{URL: url + "/foo", Count: throws, Workers: 4}), map[string]float64{"echo-service-1": 50, "echo-service-2": 50}, 5)
		}
		c.Apply(strings.ReplaceAll(s.text(c, "rewrite/lb-listener.yaml"), "/foo", "/bar"))
		client.OK(e2e.Request{URL: url1 + "/bar"}, 200)
		client.OK(e2e.Request{URL: url1 + "/foo"}, 404)
		c.Delete(s.file("rewrite/lb-listener.yaml"))
		client.OK(e2e.Request{URL: url1 + "/bar"}, 404)
		envoyed(client, c, url2, false)
		c.NoFailures(load.More(100))
		c.NoFailures(load.Stop())
		c.NoFailures(kept.Stop())
	})
}

// Two requests pass, and two more five seconds later; who asks another Service
// is not counted.
func TestRateLimit(t *testing.T) {
	scenario(t, "rate-limit", func(c *e2e.Test, s seed) {
		application(c)
		client := c.Client("")
		client.OK(e2e.Request{URL: url1}, 200)
		load := client.Load(e2e.Request{URL: url2, Rate: 50})
		c.Apply(s.file("rate-limit/rate-limit.yaml"))
		c.Wait("ccec/envoy-lb-listener", "Programmed")
		envoyed(client, c, url1, true)
		for range 2 {
			time.Sleep(6 * time.Second) // in which two more may come, and no third
			got := client.Do(e2e.Request{URL: url1, Count: 5})
			for i, r := range got {
				if want := map[bool]int{true: 200, false: 429}[i < 2]; r.Status != want {
					c.Errorf("request %d of 5: %d %s, want %d", i+1, r.Status, r.Error, want)
				}
			}
			if last := got[4]; last.Headers.Get("X-Local-Rate-Limit") != "true" || last.Body != "local_rate_limited" {
				c.Errorf("who is limited gets %v %s", last.Headers, last.Body)
			}
		}
		limited := client.Load(e2e.Request{URL: url1, Rate: 50})
		c.Apply(strings.NewReplacer("max_tokens: 2", "max_tokens: 1000", "tokens_per_fill: 2", "tokens_per_fill: 1000").Replace(s.text(c, "rate-limit/rate-limit.yaml")))
		client.OK(e2e.Request{URL: url1}, 200)
		limited.More(50)
		c.Delete(s.file("rate-limit/rate-limit.yaml"))
		envoyed(client, c, url1, false)
		c.NoFailures(limited.More(50))
		c.NoFailures(limited.Stop())
		others := load.Stop()
		c.NoFailures(others)
		for _, r := range others {
			if r.Status != 200 {
				c.Fatalf("the other Service answers %d", r.Status)
			}
		}
	})
}

var code = regexp.MustCompile(`Code (\d+) : (\d+)`)

// Of more requests at a time than the object permits some are turned away.
func TestCircuitBreaker(t *testing.T) {
	scenario(t, "circuit-breaker", func(c *e2e.Test, s seed) {
		application(c)
		c.Apply(s.file("circuit-breaker/fortio.yaml"))
		c.Wait("deployment/fortio-deploy", "Available")
		client := c.Client("")
		client.OK(e2e.Request{URL: url1}, 200)
		c.Apply(s.file("circuit-breaker/circuit-breaker.yaml"))
		c.Wait("cec/envoy-circuit-breaker", "Programmed")
		envoyed(client, c, url1, true)
		fortio := func(connections string) map[string]string {
			out := c.Stream(nil, "", "exec", "deploy/fortio-deploy", "--", "/usr/bin/fortio", "load", "-c", connections, "-qps", "0", "-n", "20", url1)
			codes := map[string]string{}
			for _, m := range code.FindAllStringSubmatch(out, -1) {
				codes[m[1]] = m[2]
			}
			return codes
		}
		c.Eventually("some of two at a time are turned away, most are not", func() error {
			// A new backend, as one request at a time may wait for a connection.
			c.Kubectl("rollout", "restart", "deployment/echo-service-1")
			c.Kubectl("rollout", "status", "deployment/echo-service-1")
			codes := fortio("2")
			if codes["503"] == "" || len(codes["200"]) < 2 {
				return fmt.Errorf("%v", codes)
			}
			return nil
		})
		if codes := fortio("1"); len(codes) != 1 || codes["200"] != "20" {
			c.Errorf("one at a time: %v", codes)
		}
		load := client.Load(e2e.Request{URL: url1, Rate: 50})
		c.Apply(strings.ReplaceAll(s.text(c, "circuit-breaker/circuit-breaker.yaml"), "max_requests: 2", "max_requests: 3"))
		load.More(50)
		c.Delete(s.file("circuit-breaker/circuit-breaker.yaml"))
		envoyed(client, c, url1, false)
		c.NoFailures(load.Stop())
	})
}

// secondListener has the name of the rate limit's.
const secondListener = `- {"@type": type.googleapis.com/envoy.config.listener.v3.Listener, name: envoy-lb-listener, filter_chains: [{filters: [{name: envoy.filters.network.tcp_proxy,
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: second, cluster: default/echo-service-1}}]}]}
`

// resource is how an entry of spec.resources begins.
var resource = regexp.MustCompile(`(?m)^ *- "@type"`)

// What is wrong with an object it says itself, within two seconds, and an event;
// all else goes on; and once it is right it is served.
func TestMistakes(t *testing.T) {
	scenario(t, "rate-limit", func(c *e2e.Test, s seed) {
		application(c)
		client := c.Client("")
		client.OK(e2e.Request{URL: url2}, 200)
		load := client.Load(e2e.Request{URL: url2, Rate: 50})
		good := s.text(c, "rate-limit/rate-limit.yaml")
		twice := strings.TrimRight(good, "\n") + "\n" + strings.TrimSuffix(resource.FindString(good), `- "@type"`) + secondListener
		for _, m := range []struct{ name, text, condition, says string }{
			{"unknown filter", strings.Replace(good, "http.local_ratelimit.v3.LocalRateLimit", "http.local_ratelimitt.v3.LocalRateLimit", 1), "Accepted", "local_ratelimitt"},
			{"unknown field", strings.Replace(good, "prefix: ", "perfix: ", 1), "Accepted", "perfix: unknown field"},
			{"missing Service", strings.ReplaceAll(good, "echo-service-1", "echo-service-3"), "ResolvedRefs", "echo-service-3"},
			{"one name twice", twice, "Accepted", "resources[3] Listener"},
		} {
			c.Apply(m.text)
			begin := time.Now()
			c.Wait("ccec/envoy-lb-listener", m.condition+"=False")
			if took := time.Since(begin); took > 2*time.Second {
				c.Errorf("%s: said after %s", m.name, took)
			}
			message := c.Get("ccec/envoy-lb-listener", fmt.Sprintf("{.status.conditions[?(@.type==%q)].message}", m.condition))
			if !strings.Contains(message, m.says) {
				c.Errorf("%s: %q does not name %s", m.name, message, m.says)
			}
			if got := column(c, "ccec/envoy-lb-listener", "REASON"); got == "" {
				c.Errorf("%s: kubectl get shows no reason", m.name)
			}
			c.Eventually(m.name+": an event tells of it", func() error {
				got := c.Kubectl("-n", "default", "get", "events", "--field-selector", "type=Warning,involvedObject.name=envoy-lb-listener", "-o", "jsonpath={.items[*].message}")
				if !strings.Contains(got, m.condition+": ") || !strings.Contains(got, m.says) {
					return fmt.Errorf("events: %s", got)
				}
				return nil
			})
			c.Apply(good)
			c.Wait("ccec/envoy-lb-listener", "Programmed")
			c.Delete(good)
		}
		c.NoFailures(load.Stop())
	})
}
