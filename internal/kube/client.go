package kube

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
)

// Options say how to reach the API server. The zero Options are those of a
// pod: the Service "kubernetes" and the pod's service account.
type Options struct {
	// Kubeconfig is a file; empty: the pod's service account, or with User
	// what kubectl takes.
	Kubeconfig string
	// Context is of the kubeconfig; empty: its current one.
	Context string
	// User asks as whoever runs the program, and not as a pod.
	User bool
	// Host and Port are of the API server itself, for a time when Services
	// do not work yet. Empty and 0: those of the environment or kubeconfig.
	Host string
	Port uint16
	// UserAgent names the program in the API server's logs.
	UserAgent string
}

// Client is a connection to the API server.
type Client struct {
	groups map[schema.GroupVersion]*rest.RESTClient
	host   string
}

// groups are the API groups that the package reads and writes.
var groups = []struct {
	version schema.GroupVersion
	add     func(*runtime.Scheme) error
	custom  bool // of custom resources, which are JSON alone
}{
	{corev1.SchemeGroupVersion, corev1.AddToScheme, false},
	{appsv1.SchemeGroupVersion, appsv1.AddToScheme, false},
	{discoveryv1.SchemeGroupVersion, discoveryv1.AddToScheme, false},
	{coordinationv1.SchemeGroupVersion, coordinationv1.AddToScheme, false},
	{ciliumv2.GroupVersion, ciliumv2.AddToScheme, true},
	{v2alpha1.GroupVersion, v2alpha1.AddToScheme, true},
	{gatewayGroup, gatewayv1.Install, true},
	{waggle.GroupVersion, waggle.AddToScheme, true},
	{definitionGroup, func(s *runtime.Scheme) error { addDefinitions(s); return nil }, true},
}

// custom tells whether a group is of custom resources.
func custom(version schema.GroupVersion) bool {
	for _, group := range groups {
		if group.version == version {
			return group.custom
		}
	}
	return false
}

// scheme has the types of groups, and no others: the scheme of client-go would
// have all of Kubernetes'.
var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, group := range groups {
		if err := group.add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// Connect makes a Client. It does not dial yet.
func Connect(o Options, log *slog.Logger) (*Client, error) {
	quieten.Do(func() { klog.SetSlogLogger(slog.New(quiet{log.Handler()})) })
	config, err := Config(o)
	if err != nil {
		return nil, err
	}
	config.UserAgent = o.UserAgent
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return impatient{next} })
	return clientFor(config)
}

func clientFor(config *rest.Config) (*Client, error) {
	transport, err := rest.HTTPClientFor(config) // one connection for all groups
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	c := &Client{groups: map[schema.GroupVersion]*rest.RESTClient{}, host: config.Host}
	for _, group := range groups {
		client, err := rest.RESTClientForConfigAndClient(groupConfig(config, group.version, group.custom), transport)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
		}
		c.groups[group.version] = client
	}
	return c, nil
}

// quieten is done once: client-go's log is the whole process's.
var quieten sync.Once

// Host is the API server's URL.
func (c *Client) Host() string { return c.host }

// Config says where the API server is and who we are.
func Config(o Options) (*rest.Config, error) {
	server := ""
	if o.Host != "" {
		server = "https://" + net.JoinHostPort(o.Host, strconv.Itoa(int(cmp.Or(o.Port, 6443))))
	}
	switch {
	case o.Kubeconfig != "" || o.User:
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = o.Kubeconfig
		overrides := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
		overrides.ClusterInfo.Server = server
		config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("read kubeconfig %s: %w", cmp.Or(o.Kubeconfig, "that kubectl would take"), err)
		}
		return config, nil
	case server != "":
		return &rest.Config{
			Host: server, BearerTokenFile: serviceAccount + "token",
			TLSClientConfig: rest.TLSClientConfig{CAFile: serviceAccount + "ca.crt"},
		}, nil
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	return config, nil
}

// serviceAccount is where a pod finds who it is.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

// groupConfig is config for one API group.
func groupConfig(config *rest.Config, group schema.GroupVersion, custom bool) *rest.Config {
	c := rest.CopyConfig(config)
	c.GroupVersion, c.APIPath = &group, "/apis"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if group == corev1.SchemeGroupVersion {
		c.APIPath = "/api"
	}
	if !custom { // cheaper for both sides
		c.ContentType = runtime.ContentTypeProtobuf
		c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	return c
}

// impatient takes Retry-After off refused reads: client-go would sleep for so
// long, without a word (5 s while an API server that has just started has no
// custom resources yet), instead of leaving it to the feed's back-off.
type impatient struct{ next http.RoundTripper }

// RoundTrip is http.RoundTripper's.
func (t impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet &&
		(answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable) {
		answer.Header.Del("Retry-After")
	}
	return answer, err
}
