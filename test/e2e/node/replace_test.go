package node

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// Sixty backends a minute end, gracefully, and others take their places: no
// request fails.
func TestReplacements(t *testing.T) {
	c := busy(t, times(20, 12)) // a new one takes longer than one ends
	pods := podList{c, c.API() + "/api/v1/namespaces/" + c.Namespace + "/pods"}
	traffic := begin(c, false)
	seconds := times(180, 15)
	begin := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	gone := 0
	for now := 0; now < seconds; {
		<-tick.C
		now = int(time.Since(begin).Seconds())
		ready := pods.ready()
		for _, name := range ready[:max(0, min(now-gone, len(ready)-2))] { // two must stay while the machine is behind
			pods.delete(name)
			gone++
		}
	}
	took := time.Since(begin)
	traffic.end(c)
	perMinute := float64(gone) / took.Minutes()
	t.Logf("%d backends replaced in %s, %.0f a minute", gone, took.Round(time.Second), perMinute)
	if gone < seconds-2 {
		t.Errorf("%d backends were replaced in %d s, want one a second", gone, seconds)
	}
}

// podList is the pods of the namespace, without a process for each question.
type podList struct {
	c   *e2e.Test
	url string
}

// ready are the backends that are, and that nobody has ended; the oldest first.
func (p podList) ready() (names []string) {
	p.c.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name, CreationTimestamp, DeletionTimestamp string
			}
			Status struct{ Conditions []e2e.Condition }
		}
	}
	response, err := http.Get(p.url + "?labelSelector=app%3Dbusy")
	if err == nil {
		err = json.NewDecoder(response.Body).Decode(&list)
		response.Body.Close()
	}
	if err != nil {
		p.c.Fatal(err)
	}
	created := map[string]string{}
	for _, pod := range list.Items {
		isReady := slices.ContainsFunc(pod.Status.Conditions, func(s e2e.Condition) bool { return s.Type == "Ready" && s.Status == "True" })
		if isReady && pod.Metadata.DeletionTimestamp == "" {
			names = append(names, pod.Metadata.Name)
			created[pod.Metadata.Name] = pod.Metadata.CreationTimestamp
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(created[a]+a, created[b]+b) })
	return names
}

func (p podList) delete(name string) {
	p.c.Helper()
	request, err := http.NewRequest(http.MethodDelete, p.url+"/"+name, nil)
	if err != nil {
		p.c.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.c.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		p.c.Errorf("delete pod %s: %s", name, response.Status)
	}
}
