{{/*
`helm upgrade --reuse-values` hands on the values of the release as they were, without the defaults of a newer
chart: an older release of this chart has no value that came later, and one of Intrinsec's or Constellation's
charts has hardly any of ours. Every template therefore begins with `s3proxy.defaults`. It adds missing values
when `valuesVersion` shows that Helm did not merge this chart's values.yaml. Values that are set, false and empty
ones included, stay as they are. Afterwards no template has to expect a missing value.
*/}}

{{- define "s3proxy.defaults" -}}
{{- if ne (default "" .Values.valuesVersion) .Chart.Version -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- /* Every release of this chart has had the omitted ones: where they are missing, null took them away. */ -}}
{{- if and (hasKey .Values "admin") (hasKey .Values "drain") (hasKey .Values "topologySpread") -}}
{{- $defaults = omit $defaults "startupProbe" "livenessProbe" "readinessProbe" "podSecurityContext" "securityContext" "resources" -}}
{{- end -}}
{{- include "s3proxy.addMissing" (dict "values" .Values "defaults" $defaults) -}}
{{- $_ := set .Values "valuesVersion" .Chart.Version -}}
{{- end -}}
{{- end }}

{{/* Changes `values` in place. Sprig's `merge` would replace false and empty values too. */}}
{{- define "s3proxy.addMissing" -}}
{{- range $name, $default := .defaults -}}
{{- $value := get $.values $name -}}
{{- if not (hasKey $.values $name) -}}
{{- $_ := set $.values $name $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) -}}
{{- include "s3proxy.addMissing" (dict "values" $value "defaults" $default) -}}
{{- end -}}
{{- end -}}
{{- end }}
