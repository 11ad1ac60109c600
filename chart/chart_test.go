package chart_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/chart"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/install"
)

// render gives the chart's objects, as texts, for values.
func render(t *testing.T, values string) ([]string, error) {
	t.Helper()
	c, err := install.Load(chart.Waggle, "waggle")
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	files, err := install.Render(c, given, "gateway.networking.k8s.io/v1/GatewayClass")
	var objects []string
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(file, ".yaml") {
			objects = append(objects, strings.Split(files[file], "\n---\n")...)
		}
	}
	return objects, err
}

// TestRights shows each right that a workload gets: a new one is seen here.
func TestRights(t *testing.T) {
	golden.Run(t, "testdata/rights/*.txtar", func(t *testing.T, c *golden.Case) {
		objects, err := render(t, c.Section("values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, text := range objects {
			var role rbacv1.ClusterRole // a Role has nothing else
			if err := yaml.Unmarshal([]byte(text), &role); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if role.Kind != "ClusterRole" && role.Kind != "Role" {
				continue
			}
			for _, rule := range role.Rules {
				lines = append(lines, right(role, rule)...)
			}
		}
		slices.Sort(lines)
		c.Expect("rights", strings.Join(lines, "\n"))
	})
}

// right is a line for each resource of a rule.
func right(role rbacv1.ClusterRole, rule rbacv1.PolicyRule) (lines []string) {
	who := role.Name
	if role.Namespace != "" {
		who += " in " + role.Namespace
	}
	only := ""
	if len(rule.ResourceNames) > 0 {
		only = " " + strings.Join(rule.ResourceNames, ",")
	}
	slices.Sort(rule.Verbs)
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			lines = append(lines, fmt.Sprintf("%s: %s%s: %s", who, strings.TrimSuffix(resource+"."+group, "."), only, strings.Join(rule.Verbs, " ")))
		}
	}
	return lines
}

// TestExtraConfig: a feature that is switched on, or off, by its setting in
// extraConfig has all that it has by its value: rights, namespaces, workloads.
func TestExtraConfig(t *testing.T) {
	for setting, value := range map[string]string{
		`{enable-envoy-config: "true"}`:     "envoyConfig: {enabled: true}",
		"{enable-gateway-api: true}":        "gatewayAPI: {enabled: true}",
		`{enable-l2-announcements: "true"}`: "l2announcements: {enabled: true}",
		`{enable-lb-ipam: "false"}`:         "enableLBIPAM: false",
		"{enable-l7-proxy: false}":          "l7Proxy: false",
	} {
		by, err := render(t, "extraConfig: "+setting)
		if err != nil {
			t.Fatal(err)
		}
		want, err := render(t, value)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := render(t, ""); err != nil || slices.Equal(plain, want) {
			t.Fatalf("%s changes nothing: %v", value, err)
		}
		if !slices.Equal(by, want) {
			t.Errorf("extraConfig %s gives\n%s\n%s gives\n%s", setting, others(by, want), value, others(want, by))
		}
	}
}

// others are those that are not in second.
func others(first, second []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(first), func(o string) bool { return slices.Contains(second, o) }), "\n---\n")
}

// TestEffect: values that nobody else looks at do what they say.
func TestEffect(t *testing.T) {
	for values, want := range map[string]string{
		"{}":                                    `bpf-lb-map-max: "65536"`,
		"bpf: {lbMapMax: 1048576}":              `bpf-lb-map-max: "1048576"`,
		"operator: {identityGCInterval: 15m0s}": `identity-gc-interval: "15m0s"`,
		"operator: {identityHeartbeatTimeout: 30m}":                        `identity-heartbeat-timeout: "30m"`,
		"extraConfig: {bpf-ct-max: 2000000}":                               `bpf-ct-max: "2000000"`,
		"extraConfig: {some-share: 0.25}":                                  `some-share: "0.25"`,
		"image: {digest: 'sha256:00', tag: v1}":                            `image: "ghcr.io/waggle-mesh/waggle@sha256:00"`,
		"image: {digest: 'sha256:00', tag: v1, useDigest: false}":          `image: "ghcr.io/waggle-mesh/waggle:v1"`,
		"envoy: {image: {digest: 'sha256:00', tag: v1, useDigest: false}}": `image: "ghcr.io/waggle-mesh/waggle:v1"`,
	} {
		objects, err := render(t, values)
		if err != nil {
			t.Errorf("%s: %v", values, err)
		} else if !slices.ContainsFunc(objects, func(o string) bool { return strings.Contains(o, want) }) {
			t.Errorf("%s: no object has %s", values, want)
		}
	}
}

// TestOlderValues: values that an older release did not have, and so are absent
// with --reuse-values, leave settings to the flags' defaults.
func TestOlderValues(t *testing.T) {
	objects, err := render(t, "{bpf: null, operator: {identityGCInterval: null, identityHeartbeatTimeout: null}}")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		for _, never := range []string{"nil>", "bpf-lb-map-max", "identity-gc-interval"} {
			if strings.Contains(o, never) {
				t.Errorf("%s is in\n%s", never, o)
			}
		}
	}
}

// TestRefused: what Waggle does not have is refused by its name, and what
// Cilium's users usually write is not.
func TestRefused(t *testing.T) {
	for values, want := range map[string]string{
		"noSuchValue: 1":                         "value noSuchValue: Waggle does not know it",
		"gatewayAPI: {enable: true}":             "value gatewayAPI.enable: Waggle does not know it",
		"envoy: {idleTimeoutDurationSeconds: 5}": "value envoy.idleTimeoutDurationSeconds: 5 is not supported (possible: 60)",
		"loadBalancer: {serviceTopology: true}":  "value loadBalancer.serviceTopology",
		"bpf: {lbExternalClusterIP: true}":       "value bpf.lbExternalClusterIP",
		"bpf: {masquerade: false}":               "value bpf.masquerade: false is not supported",
		"socketLB: {hostNamespaceOnly: true}":    "value socketLB.hostNamespaceOnly: true is not supported",
		"MTU: 1400":                              "value MTU: 1400 is not supported",
		"{cgroup: {autoMount: {enabled: false}, hostRoot: /sys/fs/cgroup}, securityContext: {capabilities: {ciliumAgent: [CHOWN]}}, nodeinit: {enabled: false}}": "",
		"prometheus: {enabled: true}":                               "value prometheus.enabled: true is not supported",
		"authentication: {mutual: {spire: {enabled: true}}}":        "value authentication.mutual.spire.enabled: true is not supported",
		"bpf: {ctTcpMax: 1000000}":                                  "extraConfig.bpf-ct-max",
		"bpf: {policyMapMax: 65535}":                                "extraConfig.bpf-policy-map-max",
		"eni: {enabled: true}":                                      "value eni.enabled: true is not supported",
		"disableEndpointCRD: true":                                  "value disableEndpointCRD: true is not supported",
		"namespaceOverride: cilium":                                 "value namespaceOverride: cilium is not supported",
		"routingMode: tunnel":                                       "value routingMode: tunnel is not supported",
		"ingressController: {enabled: true}":                        "value ingressController.enabled: true is not supported",
		"{l7Proxy: false, gatewayAPI: {enabled: true}}":             "value gatewayAPI.enabled: needs l7Proxy=true",
		"extraConfig: {enable-envoy-config: 1}":                     "value extraConfig.enable-envoy-config: 1 is neither true nor false",
		"extraConfig: null":                                         "",
		"extraConfig: {routing-mode: tunnel}":                       "value extraConfig.routing-mode: set routingMode in its place",
		"extraConfig: {external-envoy-proxy: \"false\"}":            "value extraConfig.external-envoy-proxy: set envoy.enabled in its place",
		"{extraConfig: {ipam: kubernetes, foo: bar}}":               "",
		"gatewayAPI: {gatewayClass: {create: maybe}}":               "value gatewayAPI.gatewayClass.create: maybe is not supported (possible: auto, true, false)",
		"gatewayAPI: {hostNetwork: {nodes: {matchlabels: {a: b}}}}": "value gatewayAPI.hostNetwork.nodes.matchlabels: Waggle does not know it",
		"gatewayAPI: {hostNetwork: true}":                           "value gatewayAPI.hostNetwork: true is no table",
		"gatewayAPI: {externalTrafficPolicy: Lokal}":                "value gatewayAPI.externalTrafficPolicy: Lokal is not supported (possible: Cluster, Local)",
		"loadBalancer: {l7: {algoritm: random}}":                    "value loadBalancer.l7.algoritm: Waggle does not know it",
		"loadBalancer: {l7: {algorithm: maglev}}":                   "value loadBalancer.l7.algorithm: maglev is not supported",
		"loadBalancer: {l7: {backend: nginx}}":                      "value loadBalancer.l7.backend: nginx is not supported (possible: disabled, envoy)",
		"envoy: {log: {defaultLevel: verbose}}":                     "value envoy.log.defaultLevel: verbose is not supported",
		"envoy: {log: {path: /var/log/envoy}}":                      "value envoy.log.path: /var/log/envoy is not supported (possible: none)",
		"envoy: {updateStrategy: {type: OnDelete}}":                 "value envoy.updateStrategy.type: OnDelete is not supported",
		"envoy: {debug: {admin: {enabled: true}}}":                  "value envoy.debug.admin.enabled: true is not supported",
		"envoy: {extraVolumes: [{name: x}]}":                        "value envoy.extraVolumes",
		"envoy: {image: {repository: quay.io/cilium/cilium-envoy}}": "value envoy.image: quay.io/cilium/cilium-envoy is Cilium's own image",
		"image: {override: \"quay.io/cilium/cilium:v1.18.0\"}":      "value image: quay.io/cilium/cilium:v1.18.0 is Cilium's own image",
		"image: {override: mirror.example/cilium/waggle}":           "",
		"operator: {image: {repository: mirror.example/operator}}":  "value operator.image.repository: mirror.example/operator is not supported",
		"operator: {enabled: false}":                                "value operator.enabled: false is not supported",
		"nodePort: {addresses: [10.0.0.0/8]}":                       "value nodePort.addresses: [10.0.0.0/8] is not supported",
		"cni: {install: false}":                                     "value cni.install: false is not supported",
		"commonLabels: {team: a}":                                   "value commonLabels",
		"cleanState: true":                                          "value cleanState: true is not supported",
		"hostFirewall: {enabled: true}":                             "value hostFirewall.enabled: true is not supported",
		"policyEnforcementMode: always":                             "value policyEnforcementMode: always is not supported",
		"enableIPv4Masquerade: false":                               "value enableIPv4Masquerade: false is not supported",
		"devices: [eth0, eth1]":                                     "value devices: eth0, eth1 are several",
		"devices: eth+":                                             "value devices: eth+ is a pattern",
		"devices: [eth0]":                                           "",
		"ipv6: {enabled: maybe}":                                    "value ipv6.enabled: maybe is not supported (possible: auto, true, false)",
		"{ipv4: {enabled: false}, ipv6: {enabled: false}}":          "are both false",
		"{ipv4: {enabled: true}, ipv6: {enabled: false}}":           "",
		`{kubeProxyReplacement: true, l7Proxy: true, gatewayAPI: {enabled: true}, envoyConfig: {enabled: true}, k8sServiceHost: 10.0.0.1, k8sServicePort: 6443,
		  routingMode: native, autoDirectNodeRoutes: true, ipv4NativeRoutingCIDR: 10.244.0.0/16, bpf: {masquerade: true}, ipam: {mode: kubernetes}, cluster: {name: a, id: 0},
		  hubble: {enabled: true, relay: {enabled: true}, ui: {enabled: true}}, operator: {replicas: 1, prometheus: {enabled: true}}, image: {pullPolicy: IfNotPresent, useDigest: false},
		  envoy: {enabled: false}, extraConfig: {enable-envoy-config: "true"}, debug: {enabled: true}}`: "",
		// What is Cilium's default is taken, where it is not built, too.
		`{envoy: {connectTimeoutSeconds: 2, maxGlobalDownstreamConnections: 50000, xdsMode: ads, idleTimeoutDurationSeconds: 60, extraVolumes: [], bootstrapConfigMap: null,
		  securityContext: {privileged: false, capabilities: {envoy: [NET_ADMIN, SYS_ADMIN], keepCapNetBindService: false}}, updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 2}}},
		  loadBalancer: {serviceTopology: false}, socketLB: {enabled: false}, nodePort: {addresses: null, bindProtection: true}, externalIPs: {enabled: false}, cni: {exclusive: true},
		  operator: {image: {repository: quay.io/cilium/operator, useDigest: true}}, commonLabels: {}, cleanState: false, tls: {ca: {cert: ""}},
		  bpf: {ctTcpMax: 524288, ctAnyMax: 262144, policyMapMax: 16384, lbMapMax: 65536}, authentication: {enabled: false, mutual: {port: 4250, spire: {enabled: false, install: {enabled: true}}}},
		  eni: {enabled: false}, name: cilium, namespaceOverride: "", k8sServiceHostRef: {name: null, key: null}, maglev: {}, serviceNoBackendResponse: reject, svcSourceRangeCheck: true}`: "",
	} {
		_, err := render(t, values)
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", values, err, want)
		}
	}
}

// agents gives the DaemonSet of agents for values.
func agents(t *testing.T, values string) (set appsv1.DaemonSet) {
	t.Helper()
	objects, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	found := slices.DeleteFunc(objects, func(text string) bool {
		var o appsv1.DaemonSet
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return o.Kind != "DaemonSet" || o.Name != "cilium"
	})
	if len(found) != 1 {
		t.Fatalf("%s: %d DaemonSets of agents", values, len(found))
	}
	if err := yaml.UnmarshalStrict([]byte(found[0]), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// TestRolling: where Envoy is in the agents' pods, a new one is there before the
// one before it goes, unless somebody wants it otherwise.
func TestRolling(t *testing.T) {
	for values, want := range map[string]string{
		"{}":                      "rollingUpdate:\n  maxUnavailable: 2\ntype: RollingUpdate\n",
		"envoy: {enabled: false}": "rollingUpdate:\n  maxSurge: 1\n  maxUnavailable: 0\ntype: RollingUpdate\n",
		"{envoy: {enabled: false}, updateStrategy: {type: OnDelete}}":                       "type: OnDelete\n",
		"{envoy: {enabled: false}, updateStrategy: {rollingUpdate: {maxUnavailable: 30%}}}": "rollingUpdate:\n  maxUnavailable: 30%\n",
	} {
		got, err := yaml.Marshal(agents(t, values).Spec.UpdateStrategy)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s: agents are replaced by\n%swant\n%s", values, got, want)
		}
	}
}

// TestToken: the agent may ask the API server; Envoy, which reads what anybody
// sends, may not, be it beside the agent.
func TestToken(t *testing.T) {
	pod := agents(t, "envoy: {enabled: false}").Spec.Template.Spec
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("all containers get the token")
	}
	tokens := map[string]bool{}
	for _, v := range pod.Volumes {
		tokens[v.Name] = v.Projected != nil
	}
	var have []string
	for _, c := range pod.Containers {
		for _, m := range c.VolumeMounts {
			if tokens[m.Name] {
				have = append(have, c.Name+" at "+m.MountPath)
			}
		}
	}
	if want := []string{"cilium-agent at /var/run/secrets/kubernetes.io/serviceaccount"}; len(pod.Containers) != 2 || !slices.Equal(have, want) {
		t.Errorf("of %d containers these have a token: %q, want %q", len(pod.Containers), have, want)
	}
}
