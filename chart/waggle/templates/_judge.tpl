{{/* Fails where a value, at a path, is not what files/known-values.yaml allows there. */}}
{{- define "waggle.judge" -}}
{{- $path := index . 0 }}{{ $value := index . 1 }}{{ $known := index . 2 -}}
{{- if or (kindIs "invalid" $value) (eq (toString $known) "any") -}}
{{- else if kindIs "slice" $known -}}
{{- include "waggle.oneOf" (list $path $value $known "") -}}
{{- else if hasKey $known "only" -}}
{{- include "waggle.oneOf" (list $path $value $known.only ($known.because | default "nothing else is built")) -}}
{{- else if not (kindIs "map" $value) -}}
{{- fail (printf "value %s: %v is no table" $path $value) -}}
{{- else -}}
{{- range $name, $below := $value -}}
{{- $at := trimPrefix "." (print $path "." $name) -}}
{{- if not (hasKey $known $name) -}}
{{- fail (printf "value %s: Waggle does not know it (see chart/waggle/values.yaml); a setting of the agent or operator by its flag's name goes into extraConfig" $at) -}}
{{- end -}}
{{- include "waggle.judge" (list $at $below (get $known $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Fails where a value is not one of some. Of a reason the words follow. */}}
{{- define "waggle.oneOf" -}}
{{- $path := index . 0 }}{{ $value := index . 1 }}{{ $because := index . 3 -}}
{{- $possible := list }}{{ range index . 2 }}{{ $possible = append $possible (toString .) }}{{ end -}}
{{- $isEmpty := or (kindIs "string" $value) (kindIs "slice" $value) (kindIs "map" $value) | and (empty $value) -}}
{{- if not (or (has (toString $value) $possible) (and $isEmpty (has "" $possible))) -}}
{{- fail (printf "value %s: %v is not supported (possible: %s) %s" $path $value (join ", " (without $possible "" | default (list "none"))) $because | trim) -}}
{{- end -}}
{{- end -}}
