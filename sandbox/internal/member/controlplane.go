package member

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/image"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

const etcd = "127.0.0.1:2379"

// startControlPlane serves images and starts etcd, the API server and the rest
// in turn: each waits for the one before to serve, which is faster than to let
// them fail and try again.
func startControlPlane(p *plan.Plan, s *supervisor) error {
	l, err := net.Listen("tcp", p.Registry().String())
	if err != nil {
		return err
	}
	go func() { s.fail(http.Serve(l, image.Registry(p.Images()))) }()

	// No fsync: the whole cluster is thrown away with the machine's power.
	s.start("etcd", p.Kube(), "etcd", "--data-dir="+p.Path("etcd"), "--unsafe-no-fsync", "--log-level=warn")
	await(20*time.Millisecond, func() bool {
		c, err := net.Dial("tcp", etcd)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	var gates []string
	if p.Gates != "" {
		gates = []string{"--feature-gates=" + p.Gates}
	}
	s.start("kube-apiserver", append(apiserver(p), gates...)...)
	h := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // asks for nothing but /readyz
	await(50*time.Millisecond, func() bool {
		r, err := h.Get(p.APIServer() + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	s.start("kube-controller-manager", append(controllerManager(p), gates...)...)
	s.start("kube-scheduler", append(scheduler(p), gates...)...)
	return nil
}

// await asks until the answer is yes; the program asked is restarted meanwhile if it ends.
func await(every time.Duration, yes func() bool) {
	for !yes() {
		time.Sleep(every)
	}
}

func kubeconfigs(p *plan.Plan, user string) []string {
	f := p.PKI(user + ".kubeconfig")
	return []string{"--kubeconfig=" + f, "--authentication-kubeconfig=" + f, "--authorization-kubeconfig=" + f}
}

func apiserver(p *plan.Plan) []string {
	bind := "0.0.0.0"
	if p.ControlPlaneIP().Is6() {
		bind = "::"
	}
	return []string{p.Kube(), "kube-apiserver",
		"--etcd-servers=http://" + etcd,
		"--bind-address=" + bind,
		"--advertise-address=" + p.ControlPlaneIP().String(),
		"--secure-port=6443",
		"--tls-cert-file=" + p.PKI("apiserver.crt"),
		"--tls-private-key-file=" + p.PKI("apiserver.key"),
		"--client-ca-file=" + p.PKI("ca.crt"),
		"--service-account-key-file=" + p.PKI("sa.key"),
		"--service-account-signing-key-file=" + p.PKI("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range=" + plan.Join(p.ServiceCIDRs),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--kubelet-client-certificate=" + p.PKI("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + p.PKI("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.PKI("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--enable-aggregator-routing=true", // webhooks and API services by pod address: cp has no service proxy
		"--requestheader-client-ca-file=" + p.PKI("ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.PKI("front-proxy-client.crt"),
		"--proxy-client-key-file=" + p.PKI("front-proxy-client.key"),
	}
}

func controllerManager(p *plan.Plan) []string {
	return append([]string{p.Kube(), "kube-controller-manager",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + p.PKI("sa.key"),
		"--root-ca-file=" + p.PKI("ca.crt"),
		"--cluster-signing-cert-file=" + p.PKI("ca.crt"),
		"--cluster-signing-key-file=" + p.PKI("ca.key"),
		"--service-cluster-ip-range=" + plan.Join(p.ServiceCIDRs),
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--kube-api-qps=1000", "--kube-api-burst=2000", // at the default of 20 the first service account takes 5 s
	}, kubeconfigs(p, "kcm")...)
}

func scheduler(p *plan.Plan) []string {
	return append([]string{p.Kube(), "kube-scheduler", "--leader-elect=false", "--bind-address=127.0.0.1"}, kubeconfigs(p, "scheduler")...)
}
