{{/* What agents, Envoys and operators are told: a flag a line. */}}
{{- define "waggle.config" -}}
{{- $config := dict
  "cluster-name" .Values.cluster.name
  "debug" .Values.debug.enabled
  "log-level" (ternary "debug" "info" .Values.debug.enabled)
  "enable-ipv4" .Values.ipv4.enabled
  "enable-ipv6" .Values.ipv6.enabled
  "kube-proxy-replacement" .Values.kubeProxyReplacement
  "routing-mode" .Values.routingMode
  "ipam" .Values.ipam.mode
  "enable-l7-proxy" .Values.l7Proxy
  "enable-envoy-config" .Values.envoyConfig.enabled
  "envoy-config-allow-unsafe" .Values.envoyConfig.allowUnsafe
  "enable-gateway-api" .Values.gatewayAPI.enabled
  "enable-gateway-api-secrets-sync" .Values.gatewayAPI.secretsNamespace.sync
  "gateway-api-secrets-namespace" (include "waggle.secretsNamespaces" . | fromJsonArray | first | default "")
  "envoy-secrets-namespace" .Values.envoyConfig.secretsNamespace.name
  "enable-gateway-api-alpn" .Values.gatewayAPI.enableAlpn
  "enable-gateway-api-app-protocol" .Values.gatewayAPI.enableAppProtocol
  "enable-gateway-api-proxy-protocol" .Values.gatewayAPI.enableProxyProtocol
  "gateway-api-service-externaltrafficpolicy" .Values.gatewayAPI.externalTrafficPolicy
  "gateway-api-xff-num-trusted-hops" .Values.gatewayAPI.xffNumTrustedHops
  "gateway-api-use-remote-address" .Values.gatewayAPI.useRemoteAddress
  "gateway-api-hostnetwork-enabled" .Values.gatewayAPI.hostNetwork.enabled
  "external-envoy-proxy" .Values.envoy.enabled
  "enable-lb-ipam" .Values.enableLBIPAM
  "default-lb-service-ipam" .Values.defaultLBServiceIPAM
  "loadbalancer-l7" .Values.loadBalancer.l7.backend
  "loadbalancer-l7-algorithm" .Values.loadBalancer.l7.algorithm
  "loadbalancer-l7-ports" (join "," .Values.loadBalancer.l7.ports)
  "enable-l2-announcements" .Values.l2announcements.enabled
  "l2-announcements-lease-duration" .Values.l2announcements.leaseDuration
  "l2-announcements-renew-deadline" .Values.l2announcements.leaseRenewDeadline
  "l2-announcements-retry-period" .Values.l2announcements.leaseRetryPeriod
  "envoy-uid" .Values.envoy.uid
  "sockmap" .Values.sockmap.enabled
  "bpf-lb-map-max" (.Values.bpf | default dict).lbMapMax
  "identity-gc-interval" .Values.operator.identityGCInterval
  "identity-heartbeat-timeout" .Values.operator.identityHeartbeatTimeout
  "cni-bin-dir" "/host/opt/cni/bin"
  "cni-conf-dir" "/host/etc/cni/net.d"
-}}
{{- with .Values.k8sServiceHost }}{{ $_ := set $config "k8s-service-host" . }}{{ $_ := set $config "k8s-service-port" $.Values.k8sServicePort }}{{ end -}}
{{- with .Values.devices }}{{ $_ := set $config "device" (first (kindIs "slice" . | ternary . (list .))) }}{{ end -}}
{{- with .Values.gatewayAPI.hostNetwork.nodes.matchLabels }}{{ $pairs := list }}{{ range $k, $v := . }}{{ $pairs = append $pairs (printf "%s=%s" $k $v) }}{{ end }}{{ $_ := set $config "gateway-api-hostnetwork-nodelabelselector" (join "," $pairs) }}{{ end -}}
{{- range $name, $value := .Values.extraConfig }}{{ $_ := set $config $name $value }}{{ end -}}
{{- range $name := keys $config | sortAlpha }}
{{- $value := get $config $name }}
{{- if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ $value = int64 $value }}{{ end }}{{ end }}{{/* not 1e+06 */}}
{{- if not (kindIs "invalid" $value) }}{{/* else the flag's default: --reuse-values of an older release */}}
{{ $name }}: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}
{{- end -}}
