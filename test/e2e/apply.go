package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// timeout is how long Wait and Eventually wait: a minute, or E2E_TIMEOUT (as
// "5m") on a slow machine.
var timeout = func() time.Duration {
	d, err := time.ParseDuration(os.Getenv("E2E_TIMEOUT"))
	if err != nil {
		return time.Minute
	}
	return d
}()

// Apply applies manifests: a file's path, or the text of YAML documents. They
// are deleted at the test's end.
func (c *Test) Apply(pathOrText string) {
	c.Helper()
	text := c.manifest(pathOrText)
	if _, err := c.tryIn(text, "apply", "-f", "-"); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		_, _ = c.tryIn(text, "delete", "--ignore-not-found", "--wait=false", "--now", "-f", "-")
	})
}

// Put applies manifests that stay at the test's end: what it has found there and
// taken away.
func (c *Test) Put(text string) {
	c.Helper()
	if _, err := c.tryIn(text, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		c.Fatal(err)
	}
}

// Remember is what Put makes an object (kind/name) from again, without its status.
func (c *Test) Remember(object string) string {
	c.Helper()
	return c.Get(object, `{"{\"apiVersion\":\""}{.apiVersion}{"\",\"kind\":\""}{.kind}{"\",\"metadata\":{\"name\":\""}{.metadata.name}{"\",\"annotations\":"}{.metadata.annotations}{"},\"spec\":"}{.spec}{"}\n"}`)
}

// Refused applies a manifest that must be refused, and returns the reason.
func (c *Test) Refused(pathOrText string) string {
	c.Helper()
	_, err := c.tryIn(c.manifest(pathOrText), "apply", "-f", "-")
	if err == nil {
		c.Fatal("was accepted, must be refused:\n" + pathOrText)
	}
	return err.Error()
}

// Delete deletes what a manifest names, and waits until it is gone.
func (c *Test) Delete(pathOrText string) {
	c.Helper()
	if _, err := c.tryIn(c.manifest(pathOrText), "delete", "--now", "-f", "-"); err != nil {
		c.Fatal(err)
	}
}

func (c *Test) manifest(pathOrText string) string {
	c.Helper()
	if strings.Contains(pathOrText, "\n") {
		return pathOrText
	}
	if !filepath.IsAbs(pathOrText) {
		pathOrText = filepath.Join(c.dir, pathOrText)
	}
	b, err := os.ReadFile(pathOrText)
	if err != nil {
		c.Fatal(err)
	}
	return string(b)
}

// Get reads a field: object is kind/name, field a JSONPath.
func (c *Test) Get(object, field string) string {
	c.Helper()
	return c.Kubectl("get", object, "-o", "jsonpath="+field)
}

// Wait waits until a condition of an object (kind/name) is True, or, with
// "Condition=False", has that status; for a Job's pods and the like "Ready".
// When it does not come, the test ends with the object's conditions and events.
func (c *Test) Wait(object, condition string) {
	c.Helper()
	typ, want, ok := strings.Cut(condition, "=")
	if !ok {
		want = "True"
	}
	var conditions []Condition
	err := eventually(timeout, func() error {
		var err error
		conditions, err = c.conditions(object)
		if err != nil {
			return err
		}
		for _, s := range conditions {
			if s.Type == typ && s.Status == want {
				return nil
			}
		}
		return fmt.Errorf("%s is not %s", object, condition)
	})
	if err == nil {
		return
	}
	var text strings.Builder
	for _, s := range conditions {
		fmt.Fprintf(&text, "\n  %s=%s %s: %s", s.Type, s.Status, s.Reason, s.Message)
	}
	events, _ := c.try("get", "events", "--sort-by=.lastTimestamp", "-o", `jsonpath={range .items[?(@.type!="Normal")]}{"\n  "}{.involvedObject.kind}/{.involvedObject.name} {.reason}: {.message}{end}`)
	c.Fatalf("%v after %s\nconditions:%s\nwarnings:%s", err, timeout, text.String(), events)
}

// Condition is one row of an object's status.
type Condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

// conditions reads an object's conditions: its own, or, of a Route, those of all its parents.
func (c *Test) conditions(object string) ([]Condition, error) {
	out, err := c.try("get", object, "-o", "json")
	if err != nil {
		return nil, err
	}
	var o struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ObservedGeneration int64
			Conditions         []Condition
			Parents            []struct{ Conditions []Condition }
		}
	}
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	all := o.Status.Conditions
	for _, p := range o.Status.Parents {
		all = append(all, p.Conditions...)
	}
	return slices.DeleteFunc(all, func(s Condition) bool { // said of an older version
		seen := max(s.ObservedGeneration, o.Status.ObservedGeneration)
		return seen != 0 && seen < o.Metadata.Generation
	}), nil
}

// Eventually tries until it succeeds, and ends the test with the last reason if it does not.
func (c *Test) Eventually(what string, try func() error) {
	c.Helper()
	if err := eventually(timeout, try); err != nil {
		c.Fatalf("%s: %v, after %s", what, err, timeout)
	}
}

func eventually(within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
