package mesh

import (
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

const (
	bookstoreURL = "http://bookstore:8080"
	// unhurried is how many requests a second leave the acceptance scenario's server,
	// which begins anew after each, the time that two retries do not.
	unhurried = 20
)

// bookstore runs two versions behind one Service and returns a client of it.
func bookstore(c *e2e.Test, s seed) *e2e.Source {
	c.Helper()
	c.Apply(s.file("bookstore/bookstore.yaml"))
	c.Apply(s.file("bookstore/services-per-version.yaml"))
	c.Wait("deployment/bookstore-v1", "Available")
	c.Wait("deployment/bookstore-v2", "Available")
	client := c.Client("")
	client.Hears(bookstoreURL, "v1", "v2")
	return client
}

// answered are as many answers as make shares: the acceptance scenario's server
// takes one connection at a time and refuses between two.
func answered(s *e2e.Source) (all e2e.Responses) {
	for len(all) < throws/2 {
		all = append(all, slices.DeleteFunc(s.Do(e2e.Request{URL: bookstoreURL, Count: throws / 4, Rate: 200}), e2e.Response.Failed)...)
	}
	return all
}

var even = map[string]float64{"v1": 50, "v2": 50}

// Without a CiliumEnvoyConfig requests are shared and no Envoy sees them; with
// one they are shared as it says, and no request fails; and without it again.
func TestBookstore(t *testing.T) {
	scenario(t, "bookstore", func(c *e2e.Test, s seed) {
		client := bookstore(c, s)
		c.Shares(answered(client), even, 10)
		envoyed(client, c, bookstoreURL, false)

		c.Apply(s.file("bookstore/canary.yaml"))
		c.Wait("cec/bookstore-canary", "Programmed")
		if got := column(c, "cec/bookstore-canary", "ACCEPTED") + column(c, "cec/bookstore-canary", "PROGRAMMED"); got != "TrueTrue" {
			c.Errorf("kubectl get cec prints %s", got)
		}
		envoyed(client, c, bookstoreURL, true)
		c.Shares(client.Do(e2e.Request{URL: bookstoreURL, Count: throws / 2, Rate: unhurried}), map[string]float64{"v1": 90, "v2": 10}, 5)

		load := client.Load(e2e.Request{URL: bookstoreURL, Rate: unhurried})
		c.Apply(strings.NewReplacer("weight: 90", "weight: 10", "weight: 10", "weight: 90").Replace(s.text(c, "bookstore/canary.yaml")))
		c.Wait("cec/bookstore-canary", "Programmed")
		c.Shares(load.More(400), map[string]float64{"v1": 10, "v2": 90}, 7)
		c.Delete(s.file("bookstore/canary.yaml"))
		envoyed(client, c, bookstoreURL, false)
		load.More(50)
		if rs := load.Stop(); s == own(c) { // the other's server fails without Envoy's retries
			c.NoFailures(rs)
		}
		c.Shares(answered(client), even, 10)
	})
}
