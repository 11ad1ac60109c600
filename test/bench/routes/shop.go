package routes

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

const (
	flipHeader = "X-Flip"
	secretName = "shop"
)

// newShop writes the first version of everything.
func newShop(dir string, backends []*backend) (*shop, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	s := &shop{dir: dir, backends: backends}
	for _, port := range []*int{&s.plain, &s.https, &s.spare} {
		free, err := measure.FreePort()
		if err != nil {
			return nil, err
		}
		*port = free
	}
	var err error
	if s.authority, err = newAuthority(); err != nil {
		return nil, err
	}
	for _, b := range backends {
		o := object{Name: b.name, Port: b.port}
		for _, kind := range []string{"Service", "EndpointSlice"} {
			if err := measure.Write(dir, fileName(kind, b.name), render(kind, o)); err != nil {
				return nil, err
			}
		}
	}
	return s, s.everything(0)
}

// flip leads the route to the other backend, with or without a header: both
// change together.
func (s *shop) flip(k int) error {
	rule := backendRef(s.backends[k%2])
	if k%2 == 1 {
		rule += "\n    filters:\n    - type: ResponseHeaderModifier\n      responseHeaderModifier:\n        add:\n        - name: " + flipHeader + "\n          value: \"yes\""
	}
	return s.route("flip", flipHost, rule)
}

// reorder writes the rules of a route in another order; they mean the same.
func (s *shop) reorder(k int) error {
	var all []string
	for i := range rules {
		r := (i + k) % rules
		all = append(all, fmt.Sprintf("%s\n    matches:\n    - path:\n        type: Exact\n        value: %s",
			backendRef(s.backends[r%len(s.backends)]), rulePath(r)))
	}
	return s.route("rules", rulesHost, all...)
}

func rulePath(r int) string { return fmt.Sprintf("/rule-%d", r) }

func backendRef(b *backend) string {
	return fmt.Sprintf("  - backendRefs:\n    - name: %s\n      port: 80", b.name)
}

func (s *shop) route(name, host string, rules ...string) error {
	text := fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: %s
spec:
  parentRefs:
  - name: web
  hostnames:
  - %s
  rules:
%s
`, name, host, strings.Join(rules, "\n"))
	return measure.Write(s.dir, fileName("HTTPRoute", name), []byte(text))
}

// neighbours come with an odd k and go with an even one: a listener of the
// same Gateway, and a second Gateway.
func (s *shop) neighbours(k int) error {
	extra := ""
	if k%2 == 1 {
		extra = fmt.Sprintf("  - name: spare\n    protocol: HTTP\n    port: %d\n", s.spare)
		second := strings.Replace(string(render("Gateway", object{Port: s.spare + 1})), "name: web", "name: second", 1)
		if err := measure.Write(s.dir, "second.yaml", []byte(second)); err != nil {
			return err
		}
	} else if err := os.Remove(s.dir + "/second.yaml"); err != nil && !os.IsNotExist(err) {
		return err
	}
	secure := fmt.Sprintf(`  - name: https
    protocol: HTTPS
    port: %d
    tls:
      certificateRefs:
      - name: %s
`, s.https, secretName)
	return measure.Write(s.dir, "gateway.yaml", append(render("Gateway", object{Port: s.plain}), secure+extra...))
}

// rotate gives the listener a new certificate.
func (s *shop) rotate(int) error {
	chain, key, err := s.authority.issue("*.example.com")
	if err != nil {
		return err
	}
	encoded := base64.StdEncoding.EncodeToString
	return measure.Write(s.dir, "secret.yaml", []byte(fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata:
  name: %s
type: kubernetes.io/tls
data:
  tls.crt: %s
  tls.key: %s
`, secretName, encoded(chain), encoded(key))))
}

// everything makes all changes.
func (s *shop) everything(k int) error {
	for _, write := range []func(int) error{s.flip, s.reorder, s.neighbours, s.rotate} {
		if err := write(k); err != nil {
			return err
		}
	}
	return nil
}
