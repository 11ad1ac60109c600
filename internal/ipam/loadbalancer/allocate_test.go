package loadbalancer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestGolden allocates for the objects of each testdata/*.txtar, which are
// a second older from one to the next. Whatever the order in which they are
// given, the same comes of it; and where the Services have what they were
// given, nothing changes.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, c *golden.Case) {
		pools, services := parse(t, c.Section("in.yaml"))
		got := allocate(pools, services)
		for seed := range uint64(5) {
			random := rand.New(rand.NewPCG(seed, 0))
			random.Shuffle(len(pools), func(i, j int) { pools[i], pools[j] = pools[j], pools[i] })
			random.Shuffle(len(services), func(i, j int) { services[i], services[j] = services[j], services[i] })
			if again := allocate(pools, services); again != got {
				t.Fatalf("in another order:\n%s\nwas:\n%s", again, got)
			}
		}
		assign(pools, services)
		if again := allocate(pools, services); again != got {
			t.Errorf("once the Services have it:\n%s\nwas:\n%s", again, got)
		}
		c.Expect("result", got)
	})
}

func parse(t testing.TB, in string) (pools []Pool, services []*corev1.Service) {
	t.Helper()
	created := time.Unix(1_700_000_000, 0)
	for document := range strings.SplitSeq(in, "\n---\n") {
		created = created.Add(time.Second)
		if strings.Contains(document, "kind: CiliumLoadBalancerIPPool") {
			o := &ciliumv2.CiliumLoadBalancerIPPool{}
			if err := yaml.UnmarshalStrict([]byte(document), o); err != nil {
				t.Fatal(err)
			}
			o.CreationTimestamp = metav1.NewTime(created)
			pools = append(pools, PoolOf(o))
			continue
		}
		s := &corev1.Service{}
		if err := yaml.UnmarshalStrict([]byte(document), s); err != nil {
			t.Fatal(err)
		}
		s.CreationTimestamp = metav1.NewTime(created)
		services = append(services, s)
	}
	return pools, services
}

func run(pools []Pool, services []*corev1.Service) ([]Assignment, []PoolUse) {
	var requests []Request
	for _, s := range services {
		if r, ok := RequestOf(s, true); ok {
			requests = append(requests, r)
		}
	}
	return Allocate(pools, requests)
}

// allocate writes what comes of it as a table.
func allocate(pools []Pool, services []*corev1.Service) string {
	var b strings.Builder
	assignments, uses := run(pools, services)
	for _, a := range assignments {
		line := fmt.Sprintf("%s %v %s %s", a.Service, a.Addresses, a.Condition().Reason, a.Message)
		fmt.Fprintln(&b, strings.TrimSpace(line))
	}
	for _, u := range uses {
		fmt.Fprintln(&b, strings.TrimSpace(fmt.Sprintf("pool %s: %s of %s used, %s free %s", u.Pool, u.Used, u.Total, u.Available, u.Conflict)))
	}
	return b.String()
}

// assign writes the result into the Services' status.
func assign(pools []Pool, services []*corev1.Service) {
	has := map[string][]netip.Addr{}
	assignments, _ := run(pools, services)
	for _, a := range assignments {
		has[a.Key()] = a.Addresses
	}
	for _, s := range services {
		s.Status.LoadBalancer.Ingress = nil
		for _, a := range has[(model.Name{Namespace: s.Namespace, Name: s.Name}).String()] {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
		}
	}
}

// TestHistories lets Services and pools come and go: nobody who may keep an
// address loses it, and no address has two owners that do not share.
func TestHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	created := time.Unix(1_700_000_000, 0)
	var services []*corev1.Service
	pool := &ciliumv2.CiliumLoadBalancerIPPool{}
	pool.Name = "pool"
	pool.Spec.Blocks = []ciliumv2.CiliumLoadBalancerIPPoolBlock{{Cidr: "192.0.2.0/27"}, {Start: "2001:db8::1", Stop: "2001:db8::20"}}
	pools := []Pool{PoolOf(pool)}
	for range 3000 {
		if len(services) > 0 && random.IntN(2) == 0 {
			i := random.IntN(len(services))
			services = append(services[:i], services[i+1:]...)
		} else {
			created = created.Add(time.Second)
			services = append(services, randomService(random, created))
		}
		before := map[*corev1.Service][]corev1.LoadBalancerIngress{}
		for _, s := range services {
			before[s] = s.Status.LoadBalancer.Ingress
		}
		assign(pools, services)
		for _, s := range services {
			for _, had := range before[s] {
				if now := s.Status.LoadBalancer.Ingress; !slices.Contains(addresses(now), had.IP) {
					t.Fatalf("Service %s had %v and has %v", s.Name, before[s], now)
				}
			}
		}
		unique(t, services)
	}
}

func addresses(ingress []corev1.LoadBalancerIngress) (out []string) {
	for _, i := range ingress {
		out = append(out, i.IP)
	}
	return out
}

func randomService(random *rand.Rand, created time.Time) *corev1.Service {
	s := &corev1.Service{}
	s.Namespace, s.Name, s.CreationTimestamp = "default", fmt.Sprint(created.Unix()), metav1.NewTime(created)
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Spec.IPFamilies = [][]corev1.IPFamily{{corev1.IPv4Protocol}, {corev1.IPv6Protocol}, {corev1.IPv4Protocol, corev1.IPv6Protocol}}[random.IntN(3)]
	s.Spec.Ports = []corev1.ServicePort{{Port: int32(80 + random.IntN(5)), Protocol: corev1.ProtocolTCP}}
	if random.IntN(3) == 0 {
		s.Annotations = map[string]string{"lbipam.cilium.io/sharing-key": fmt.Sprint(random.IntN(4))}
	}
	return s
}

func unique(t *testing.T, services []*corev1.Service) {
	t.Helper()
	owners := map[string]string{}
	for _, s := range services {
		for _, i := range s.Status.LoadBalancer.Ingress {
			key := fmt.Sprint(i.IP, " ", s.Spec.Ports[0].Port)
			if other := owners[key]; other != "" {
				t.Fatalf("%s belongs to Services %s and %s", key, other, s.Name)
			}
			owners[key] = s.Name
		}
	}
}

func BenchmarkAllocate(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	pool := &ciliumv2.CiliumLoadBalancerIPPool{}
	pool.Spec.Blocks = []ciliumv2.CiliumLoadBalancerIPPoolBlock{{Cidr: "10.0.0.0/8"}, {Cidr: "2001:db8::/64"}}
	pools := []Pool{PoolOf(pool)}
	var services []*corev1.Service
	for i := range 5000 {
		services = append(services, randomService(random, time.Unix(int64(1_700_000_000+i), 0)))
	}
	assign(pools, services)
	var requests []Request
	for _, s := range services {
		r, _ := RequestOf(s, true)
		requests = append(requests, r)
	}
	for b.Loop() {
		Allocate(pools, requests)
	}
}
