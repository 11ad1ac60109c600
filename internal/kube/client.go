package kube

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// Options say how to reach the API server. The zero Options are those of a
// pod: the Service "kubernetes" and the pod's service account.
type Options struct {
	// Kubeconfig is a file; empty: the pod's service account.
	Kubeconfig string
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

// scheme has the types that the package reads and writes, and no others: the
// scheme of client-go would have all of Kubernetes'.
var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, ciliumv2.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// Connect makes a Client. It does not dial yet.
func Connect(o Options, log *slog.Logger) (*Client, error) {
	klog.SetSlogLogger(slog.New(quiet{log.Handler()}))
	config, err := configOf(o)
	if err != nil {
		return nil, err
	}
	config.UserAgent = o.UserAgent
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return impatient{next} })
	transport, err := rest.HTTPClientFor(config) // one connection for all groups
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	c := &Client{groups: map[schema.GroupVersion]*rest.RESTClient{}, host: config.Host}
	for _, group := range []schema.GroupVersion{corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion, ciliumv2.GroupVersion} {
		client, err := rest.RESTClientForConfigAndClient(groupConfig(config, group), transport)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
		}
		c.groups[group] = client
	}
	return c, nil
}

// Host is the API server's URL.
func (c *Client) Host() string { return c.host }

// configOf says where the API server is and who we are.
func configOf(o Options) (*rest.Config, error) {
	server := ""
	if o.Host != "" {
		server = "https://" + net.JoinHostPort(o.Host, strconv.Itoa(int(cmp.Or(o.Port, 6443))))
	}
	switch {
	case o.Kubeconfig != "":
		config, err := clientcmd.BuildConfigFromFlags(server, o.Kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("read kubeconfig %s: %w", o.Kubeconfig, err)
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
func groupConfig(config *rest.Config, group schema.GroupVersion) *rest.Config {
	c := rest.CopyConfig(config)
	c.GroupVersion, c.APIPath = &group, "/apis"
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if group == corev1.SchemeGroupVersion {
		c.APIPath = "/api"
	}
	if group != ciliumv2.GroupVersion { // cheaper for both sides; custom resources have it not
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
