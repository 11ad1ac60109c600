{{/* The reference of an image: of .image, and where that says nothing, of .Values.image. */}}
{{- define "waggle.image" -}}
{{- $all := .Values.image -}}
{{- $own := .image | default dict -}}
{{- if or $own.override $all.override -}}
{{- $own.override | default $all.override -}}
{{- else -}}
{{- $own.repository | default $all.repository -}}
{{- $digest := ternary $own.digest "" (dig "useDigest" true $own) | default (ternary $all.digest "" (and (empty $own.tag) (dig "useDigest" true $all))) -}}
{{- with $digest }}@{{ . }}{{ else }}:{{ $own.tag | default $all.tag | default .Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "waggle.pullPolicy" -}}
{{- (.image | default dict).pullPolicy | default .Values.image.pullPolicy -}}
{{- end -}}

{{- define "waggle.labels" -}}
app.kubernetes.io/part-of: cilium
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* Whether a setting is true: as extraConfig says, or else as a value does. Rights
     and objects follow from it in either case. */}}
{{- define "waggle.on" -}}
{{- $extra := (index . 0).Values.extraConfig | default dict -}}
{{- if eq (toString (ternary (get $extra (index . 1)) (index . 2) (hasKey $extra (index . 1)))) "true" }}true{{ end -}}
{{- end -}}

{{/* Whether an Envoy runs on the nodes. */}}
{{- define "waggle.l7" -}}
{{- include "waggle.on" (list . "enable-l7-proxy" .Values.l7Proxy) -}}
{{- end -}}

{{- define "waggle.gatewayAPI" -}}
{{- include "waggle.on" (list . "enable-gateway-api" .Values.gatewayAPI.enabled) -}}
{{- end -}}

{{- define "waggle.envoyConfig" -}}
{{- include "waggle.on" (list . "enable-envoy-config" .Values.envoyConfig.enabled) -}}
{{- end -}}

{{- define "waggle.l2announcements" -}}
{{- include "waggle.on" (list . "enable-l2-announcements" .Values.l2announcements.enabled) -}}
{{- end -}}

{{- define "waggle.lbIPAM" -}}
{{- include "waggle.on" (list . "enable-lb-ipam" .Values.enableLBIPAM) -}}
{{- end -}}

{{/* Names of the namespaces that hold copies of Secrets, each once. */}}
{{- define "waggle.secretsNamespaces" -}}
{{- $names := list -}}
{{- if include "waggle.gatewayAPI" . }}{{ $names = append $names .Values.gatewayAPI.secretsNamespace.name }}{{ end -}}
{{- if include "waggle.envoyConfig" . }}{{ $names = append $names .Values.envoyConfig.secretsNamespace.name }}{{ end -}}
{{- $names | uniq | toJson -}}
{{- end -}}

{{/* Envoy's container, in either pod. It begins as root and becomes a user who
     may do nothing but what Envoy needs: marks, and clients' addresses. */}}
{{- define "waggle.envoyContainer" -}}
name: cilium-envoy
image: {{ include "waggle.image" (dict "Values" .Values "Chart" .Chart "image" .Values.envoy.image) | quote }}
imagePullPolicy: {{ include "waggle.pullPolicy" (dict "Values" .Values "image" .Values.envoy.image) }}
command: [/usr/bin/waggle, envoy, run, --keep, --uid={{ .Values.envoy.uid }}, --log-level={{ .Values.envoy.log.defaultLevel }}{{ range .Values.envoy.extraArgs }}, {{ . | quote }}{{ end }}]
env:
- {name: K8S_NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
{{- with .Values.envoy.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- range $probe := list "startup" "liveness" "readiness" }}
{{- with get $.Values.envoy (print $probe "Probe") }}
{{- if dig "enabled" true . }}
{{ $probe }}Probe:
  exec: {command: [/usr/bin/waggle, envoy, ready]}
  {{- toYaml (omit . "enabled") | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
lifecycle: {preStop: {exec: {command: [/usr/bin/waggle, envoy, prestop]}}}
resources: {{ toYaml .Values.envoy.resources | nindent 2 }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
    add: [NET_ADMIN, SETUID, SETGID, SETPCAP, CHOWN]
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
- {name: envoy-sockets, mountPath: /var/run/cilium/envoy}
- {name: envoy-run, mountPath: /run/waggle}
{{- end -}}

{{- define "waggle.envoyVolumes" -}}
- {name: envoy-sockets, hostPath: {path: /var/run/cilium/envoy, type: DirectoryOrCreate}}
- {name: envoy-run, emptyDir: {}}
{{- end -}}
